package config

import (
	"net/netip"
	"time"

	"swerve/failover"
	"swerve/rule"
	"swerve/target"
)

// DefaultPolicy is the name of the policy that always exists and that carries
// what no rule matches.
const DefaultPolicy = "default"

// Config is a whole, valid configuration: every default is filled in, every
// name that one part uses is defined by another.
type Config struct {
	// AutoUplinks: the file says `uplinks: auto`, or there is no file. Uplinks
	// is empty then; [Config.Auto] makes them from the machine's default routes.
	AutoUplinks bool
	// Uplinks in the file's order, which is the order of preference; at most 63.
	Uplinks []Uplink
	// Probe and Health hold for every uplink; each [Uplink] has them already
	// merged with its own.
	Probe  Probe
	Health failover.Health

	Failback failover.Failback
	// Policies, the default policy first, then in the file's order; at most 63.
	Policies []Policy
	// Rules in the file's order; the first that matches wins.
	Rules    []Rule
	Sessions Sessions
	Kernel   Kernel
	Control  Control
	// State is the absolute path of the folder that survives restarts.
	State   string
	Metrics Metrics
	Log     Log
}

// Uplink is one way out, as the file has it.
type Uplink struct {
	// Name as in [a-z][a-z0-9-]{0,30}.
	Name string
	// Interface is a kernel name, an altname, or a MAC address in lower case
	// with colons. It may be absent now.
	Interface string
	// Line of the file on which the uplink begins; 0 where no file has it.
	Line int
	// Enabled is false for an uplink that is configured but must not be used.
	Enabled bool
	// Gateway and Gateway6 say where the next hop of each family comes from.
	Gateway, Gateway6 Gateway
	// IPv6 is false where this uplink carries no IPv6.
	IPv6 bool
	SNAT SNAT
	// SNATExcept are IPv4 sources or destinations that are never masqueraded.
	SNATExcept []netip.Prefix
	SNAT6      SNAT
	Prefix6    Prefix6
	Metered    Metered
	// DNS are this uplink's own resolvers, always asked through it.
	DNS    []netip.Addr
	Probe  Probe
	Health failover.Health
}

// Gateway says how an uplink's next hop is known in one family: Addr when it is
// valid, else none when None is set (point to point), else it is learnt.
type Gateway struct {
	None bool
	Addr netip.Addr
}

// String returns the gateway as the file writes it.
func (g Gateway) String() string {
	switch {
	case g.Addr.IsValid():
		return g.Addr.String()
	case g.None:
		return "none"
	}
	return "auto"
}

// SNAT says whose source addresses are replaced on the way out of an uplink.
type SNAT string

// The kinds of source NAT.
const (
	// Masquerade replaces every source by the uplink's own address.
	Masquerade SNAT = "masquerade"
	// Foreign, IPv6 only, masquerades only sources that are not native here.
	Foreign SNAT = "foreign"
	// NPT, IPv6 only, maps prefix to prefix (RFC 6296).
	NPT SNAT = "npt"
	// NoSNAT leaves sources as they are.
	NoSNAT SNAT = "none"
)

// Prefix6 are the IPv6 prefixes native on an uplink. With Auto they are learnt.
type Prefix6 struct {
	Auto     bool
	Prefixes []netip.Prefix
}

// Metered says whether an uplink's traffic costs money.
type Metered string

// The values of metered.
const (
	MeteredAuto Metered = "auto"
	MeteredYes  Metered = "true"
	MeteredNo   Metered = "false"
)

// Probe is how an uplink is probed.
type Probe struct {
	// Targets, at most 64, none twice.
	Targets []target.Target
	// Interval between two probes of one target, 20 ms to 1 h.
	Interval time.Duration
	// StandbyInterval replaces Interval on a metered uplink that carries
	// nothing; 20 ms to 24 h.
	StandbyInterval time.Duration
	// LostAfter is when an unanswered probe is lost, 40 ms to 1 min.
	LostAfter time.Duration
	// Quorum is how many targets of a family must answer, where the family has
	// targets; 1 to 64, never more than a family has.
	Quorum int
	Burst  failover.Burst
}

// Policy orders uplinks by preference for the traffic that rules give it.
type Policy struct {
	Name string
	// Tiers, best first; the shares of one tier carry the load by weight 1–255.
	// Empty for the default policy under [Config.AutoUplinks]: every uplink.
	Tiers [][]failover.Share
	// Block leaves no way out when the policy's own uplinks are gone, instead
	// of those of the default policy.
	Block bool
	// Spread says what of a flow is kept on one uplink of a shared tier.
	Spread Spread
	// Line of the file on which the policy begins; 0 where no file has it.
	Line int
}

// Spread says by what a shared tier divides its traffic.
type Spread string

// The kinds of spread.
const (
	// SpreadPairs keeps each pair of source and destination on one uplink.
	SpreadPairs Spread = "pairs"
	// SpreadClients keeps each source on one uplink.
	SpreadClients Spread = "clients"
	// SpreadFlows spreads each flow by itself.
	SpreadFlows Spread = "flows"
)

// Rule gives the traffic that it matches to a policy.
type Rule struct {
	rule.Match
	// Use names the policy.
	Use string
	// Line of the file on which the rule begins.
	Line int
}

// Sessions says what happens to established sessions.
type Sessions struct {
	// MoveOnDown and MoveOnDegraded move them with a forced switch.
	MoveOnDown, MoveOnDegraded bool
	OnFailback                 OnFailback
}

// OnFailback says what happens to sessions when traffic returns.
type OnFailback struct {
	Mode FailbackSessions
	// Drain is how long sessions may stay: 1 s to 7 days with SessionsDrain,
	// ten minutes with SessionsAuto (for metered uplinks), else 0.
	Drain time.Duration
}

// FailbackSessions is a way to treat sessions at a failback.
type FailbackSessions string

// The ways to treat sessions at a failback.
const (
	// SessionsAuto drains what is left on a metered uplink, and keeps the rest.
	SessionsAuto FailbackSessions = "auto"
	// SessionsKeep lets them end where they are.
	SessionsKeep FailbackSessions = "keep"
	// SessionsDrain moves what is left after OnFailback.Drain.
	SessionsDrain FailbackSessions = "drain"
	// SessionsMove moves them at once.
	SessionsMove FailbackSessions = "move"
)

// Kernel says which marks, tables and priorities are ours.
type Kernel struct {
	// MarkMask covers seven neighbouring bits of the packet mark; CTMask
	// fifteen of the conntrack mark, the upper seven those of MarkMask.
	MarkMask, CTMask uint32
	// FirstPriority to FirstPriority+413 are ours; 1 to 32350.
	FirstPriority int
	// FirstTable+1 to FirstTable+126 are ours, never among 253 to 255.
	FirstTable int
	// MirrorMain puts the default policy's ladder also into main.
	MirrorMain bool
	// ManageSysctls writes the sysctls that ours needs; otherwise they are only
	// reported.
	ManageSysctls bool
}

// Control is the control socket.
type Control struct {
	// Socket is an absolute path of at most 107 bytes.
	Socket string
	// Group owns the socket; empty for none.
	Group string
}

// Metrics says where metrics are served.
type Metrics struct {
	// Listen is host:port; empty for nowhere.
	Listen string
}

// Log says how the daemon logs.
type Log struct {
	// Level is debug, info, warn or error.
	Level string
	// Format is auto, text, json or journal.
	Format string
}
