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

// Config is a complete and valid configuration: every default is filled in, and
// every name that is used is defined.
type Config struct {
	// AutoUplinks: the file says `uplinks: auto`, or there is no file. Uplinks is
	// then empty; [Config.Auto] derives them from the machine's default routes.
	AutoUplinks bool
	// Uplinks in the file's order, which is the order of preference; at most 63.
	Uplinks []Uplink
	// Probe and Health are the sections for all uplinks; those of each [Uplink]
	// have been merged with them.
	Probe  Probe
	Health failover.Health

	Rescue   Rescue
	Failback failover.Failback
	// Policies, the default policy first, then in the file's order; at most 63.
	Policies []Policy
	// Sets that rules may name, in the file's order; at most 64.
	Sets []Set
	// Rules in the file's order; the first that matches wins.
	Rules    []Rule
	Sessions Sessions
	Kernel   Kernel
	Control  Control
	// State is the absolute path of the folder for what survives restarts.
	State   string
	Metrics Metrics
	Log     Log
	// Source is the content of the file; nil where there is none.
	Source []byte
}

// Uplink is one uplink as the file describes it.
type Uplink struct {
	// Name as in [a-z][a-z0-9-]{0,30}.
	Name string
	// Interface is a kernel name, an altname, or a MAC address in lower case
	// with colons. It may be absent now.
	Interface string
	// Line of the file on which the uplink begins; 0 if it is in no file.
	Line int
	// Enabled is false for an uplink that is configured but never used.
	Enabled bool
	// Gateway and Gateway6 are the sources of the next hop of each family.
	Gateway, Gateway6 Gateway
	// IPv6 is false where this uplink carries no IPv6.
	IPv6 bool
	// SNAT of IPv4: SNATAuto, Masquerade or NoSNAT.
	SNAT SNAT
	// SNATExcept are IPv4 sources or destinations that are never masqueraded.
	SNATExcept []netip.Prefix
	SNAT6      SNAT
	// NPT are the prefixes that are translated, with SNAT6 NPT alone: at least one there.
	NPT     []Translation
	Prefix6 Prefix6
	Metered Metered
	// Modem: the machine says that the interface is a modem's. It is not from the
	// file; the caller sets it.
	Modem bool
	// Rate is what the line can carry, in either direction that is known.
	Rate failover.Rate
	// DNS are this uplink's own resolvers, always queried through it.
	DNS []netip.Addr
	// Route is what the learnt default routes do not tell, or tell wrongly, by family.
	Route  [2]failover.Override
	Probe  Probe
	Health failover.Health
	// place is, by family, the one in the order of `uplinks: auto`, set by [Config.Auto]
	// alone.
	place [2]Place
}

// Gateway is the source of an uplink's next hop in one family: Addr if it is
// valid, else no next hop if None is set (point to point), else it is learnt.
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

// SNAT selects the packets whose source address is replaced when they leave by an
// uplink.
type SNAT string

// The kinds of source NAT.
const (
	// SNATAuto, IPv4 only, masquerades all sources but those found native on the
	// uplink at the first start.
	SNATAuto SNAT = "auto"
	// Masquerade replaces every source with the uplink's own address.
	Masquerade SNAT = "masquerade"
	// Foreign, IPv6 only, masquerades only sources that are not native to the
	// uplink.
	Foreign SNAT = "foreign"
	// NPT, IPv6 only, maps prefix to prefix (RFC 6296).
	NPT SNAT = "npt"
	// NoSNAT leaves sources as they are.
	NoSNAT SNAT = "none"
)

// Prefix6 are the IPv6 prefixes native to an uplink. With Auto they are learnt.
type Prefix6 struct {
	Auto     bool
	Prefixes []netip.Prefix
}

// Metered says whether an uplink's traffic is metered, that is, costs money.
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
	// LostAfter is how long after its sending an unanswered probe counts as lost,
	// 40 ms to 1 min.
	LostAfter time.Duration
	// Quorum is the number of targets of a family that must answer, where the
	// family has targets; 1 to 64, never more than a family has.
	Quorum int
	Burst  failover.Burst
}

// Policy orders uplinks by preference for the traffic that rules assign to it.
type Policy struct {
	Name string
	// Tiers, best first; the shares of one tier carry the load by weight 1–255.
	// Empty for the default policy under [Config.AutoUplinks]: every uplink.
	Tiers [][]failover.Share
	// Block drops the policy's traffic when none of its own uplinks is usable,
	// instead of falling back to those of the default policy.
	Block bool
	// Spread says which flows stay together on one uplink of a shared tier.
	Spread Spread
	// Overflow is the share of the first tier's rates, 0.2 to 1, from which on new flows
	// go to the next tier; 0 for never.
	Overflow float64
	// OverflowMetered lets them go to metered uplinks as well.
	OverflowMetered bool
	// Line of the file on which the policy begins; 0 if it is in no file.
	Line int
}

// Spread says how a shared tier divides its traffic.
type Spread string

// The kinds of spread.
const (
	// SpreadPairs keeps each pair of source and destination on one uplink.
	SpreadPairs Spread = "pairs"
	// SpreadClients keeps each source on one uplink.
	SpreadClients Spread = "clients"
	// SpreadFlows assigns each flow independently.
	SpreadFlows Spread = "flows"
)

// Rule assigns the traffic that it matches to a policy.
type Rule struct {
	rule.Match
	// Set, if not empty, names a set that the destination is in; To is then empty.
	Set string
	// Use names the policy.
	Use string
	// Line of the file on which the rule begins.
	Line int
}

// Sessions says what happens to established sessions.
type Sessions struct {
	// MoveOnDown and MoveOnDegraded move them on a forced switch.
	MoveOnDown, MoveOnDegraded bool
	OnFailback                 OnFailback
}

// OnFailback says what happens to sessions when traffic returns.
type OnFailback struct {
	Mode FailbackSessions
	// Drain is how long sessions may stay: 1 s to 7 days with SessionsDrain, ten
	// minutes with SessionsAuto (applied to metered uplinks), else 0.
	Drain time.Duration
}

// FailbackSessions is a way to treat sessions at a failback.
type FailbackSessions string

// The ways to treat sessions at a failback.
const (
	// SessionsAuto drains the sessions on a metered uplink and keeps the others.
	SessionsAuto FailbackSessions = "auto"
	// SessionsKeep lets sessions end where they are.
	SessionsKeep FailbackSessions = "keep"
	// SessionsDrain moves the sessions that remain after OnFailback.Drain.
	SessionsDrain FailbackSessions = "drain"
	// SessionsMove moves sessions at once.
	SessionsMove FailbackSessions = "move"
)

// Kernel says which marks, tables and priorities are ours.
type Kernel struct {
	// MarkMask covers seven contiguous bits of the packet mark, CTMask fifteen of
	// the conntrack mark, the upper seven of them those of MarkMask.
	MarkMask, CTMask uint32
	// AutoMasks: the file has neither of them, or the word auto: these are the defaults,
	// and others are taken where other programs use bits of them.
	AutoMasks bool
	// FirstPriority to FirstPriority+413 are ours; it is 1 to 32350.
	FirstPriority int
	// FirstTable+1 to FirstTable+126 are ours, never among 253 to 255.
	FirstTable int
	// MirrorMain copies the default policy's ladder to the main table.
	MirrorMain bool
	// ManageSysctls sets the sysctls that our routes rely on; otherwise they are
	// only reported.
	ManageSysctls bool
	// KeepForeign leaves defaults in main in force that are on no uplink of ours and
	// better than those of all uplinks, such as a VPN's; otherwise they are
	// overruled.
	KeepForeign bool
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
	// Listen is host:port; empty if they are not served.
	Listen string
}

// Log says how the daemon logs.
type Log struct {
	// Level is debug, info, warn or error.
	Level string
	// Format is auto, text, json or journal.
	Format string
}
