package lab

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Kind is the type of a fault. Scripts and the demo write a fault as the kind and,
// where it has one, its value: "loss=60%".
type Kind string

const (
	Carrier        Kind = "carrier"         // the plug is pulled
	InterfaceDown  Kind = "interface-down"  // as by an administrator; the undo puts addresses and routes back
	BlackHole      Kind = "black-hole"      // beyond the ISP's router; with =ipv4 or =ipv6 that family alone
	GatewayDead    Kind = "gateway-dead"    // the ISP's router is silent, the link is up
	Loss           Kind = "loss"            // =60%: of the frames, each way
	LossOut        Kind = "loss-out"        // towards the ISP alone
	LossIn         Kind = "loss-in"         // from the ISP alone
	Stall          Kind = "stall"           // =200ms: no packet is delivered for so long, each way, and none is lost
	Delay          Kind = "delay"           // =150ms: the new delay, each way
	Jitter         Kind = "jitter"          // =30ms: up to so much added delay, each way
	Rate           Kind = "rate"            // =2000000: bits a second, each way
	Flap           Kind = "flap"            // =5x2s: the plug is pulled five times, for one second of every two
	AddressChange  Kind = "address-change"  // a lease with other addresses in the same subnets
	GatewayChange  Kind = "gateway-change"  // a lease with another IPv4 router, and the first is gone
	AddressRemoval Kind = "address-removal" // the addresses of both families go
	DeleteRules    Kind = "delete-rules"    // another program deletes all rules of protocol 83
	DeleteRoutes   Kind = "delete-routes"   // another program deletes all routes of protocol 83
	FlushRuleset   Kind = "flush-ruleset"   // another program runs nft flush ruleset
	TargetDead     Kind = "target-dead"     // =1.1.1.1: the target is silent, on every uplink
)

// Spec is a fault with its value, applicable to any uplink.
type Spec struct {
	Kind     Kind
	Part     float64       // of the loss kinds: 0 to 1
	Duration time.Duration // of stall, delay and jitter; the period of flap
	Times    int           // of flap
	BitRate  int64         // of rate, a second
	Family   string        // of black-hole: "", ipv4, ipv6
	Target   netip.Addr    // of target-dead
}

// kinds holds the parser of each kind's value; nil if it has none.
var kinds = map[Kind]func(*Spec, string) error{
	Carrier: nil, InterfaceDown: nil, GatewayDead: nil,
	AddressChange: nil, AddressRemoval: nil, GatewayChange: nil,
	DeleteRules: nil, DeleteRoutes: nil, FlushRuleset: nil,
	BlackHole:  (*Spec).readFamily,
	Loss:       (*Spec).readPart,
	LossOut:    (*Spec).readPart,
	LossIn:     (*Spec).readPart,
	Stall:      (*Spec).readDuration,
	Delay:      (*Spec).readDuration,
	Jitter:     (*Spec).readDuration,
	Rate:       (*Spec).readRate,
	Flap:       (*Spec).readFlap,
	TargetDead: (*Spec).readTarget,
}

// Kinds lists the names of all faults, sorted.
func Kinds() []Kind {
	var all []Kind
	for k := range kinds {
		all = append(all, k)
	}
	slices.Sort(all)
	return all
}

// ParseSpec parses a fault as scripts write it: a kind, or kind=value.
func ParseSpec(text string) (Spec, error) {
	name, value, given := strings.Cut(text, "=")
	s := Spec{Kind: Kind(name)}
	read, known := kinds[s.Kind]
	var err error
	switch {
	case !known:
		err = fmt.Errorf("unknown; want one of %v", Kinds())
	case read == nil && given:
		err = fmt.Errorf("%s takes no value", name)
	case read != nil && (given || s.Kind != BlackHole):
		err = read(&s, value)
	}
	if err != nil {
		return Spec{}, fmt.Errorf("lab: fault %q: %w", text, err)
	}
	return s, nil
}

// String returns the text that ParseSpec parses.
func (s Spec) String() string {
	value := ""
	switch s.Kind {
	case Loss, LossOut, LossIn:
		value = strconv.FormatFloat(s.Part*100, 'f', -1, 64) + "%"
	case Stall, Delay, Jitter:
		value = s.Duration.String()
	case Rate:
		value = strconv.FormatInt(s.BitRate, 10)
	case Flap:
		value = fmt.Sprintf("%dx%v", s.Times, s.Duration)
	case BlackHole:
		value = s.Family
	case TargetDead:
		value = s.Target.String()
	}
	if value == "" {
		return string(s.Kind)
	}
	return string(s.Kind) + "=" + value
}

func (s *Spec) readPart(v string) error {
	percent, err := strconv.ParseFloat(strings.TrimSuffix(v, "%"), 64)
	if err != nil || !strings.HasSuffix(v, "%") || !(percent >= 0 && percent <= 100) {
		return fmt.Errorf("%q is not a percentage; want 0%% to 100%%", v)
	}
	s.Part = percent / 100
	return nil
}

func (s *Spec) readDuration(v string) (err error) {
	s.Duration, err = time.ParseDuration(v)
	if err != nil || s.Duration < 0 {
		return fmt.Errorf("%q is not a duration; want for instance 200ms", v)
	}
	return nil
}

func (s *Spec) readRate(v string) (err error) {
	s.BitRate, err = strconv.ParseInt(v, 10, 64)
	if err != nil || s.BitRate <= 0 {
		return fmt.Errorf("%q is not a number of bits a second", v)
	}
	return nil
}

func (s *Spec) readFlap(v string) (err error) {
	times, period, _ := strings.Cut(v, "x")
	s.Times, err = strconv.Atoi(times)
	if err == nil {
		err = s.readDuration(period)
	}
	if err != nil || s.Times < 1 || s.Duration <= 0 {
		return fmt.Errorf("%q is not TIMESxPERIOD; want for instance 5x2s", v)
	}
	return nil
}

func (s *Spec) readFamily(v string) error {
	if v != "ipv4" && v != "ipv6" {
		return fmt.Errorf("%q is not a family; want ipv4 or ipv6", v)
	}
	s.Family = v
	return nil
}

func (s *Spec) readTarget(v string) (err error) {
	if s.Target, err = netip.ParseAddr(v); err != nil || !slices.Contains(Targets, s.Target) {
		return fmt.Errorf("%q is not a target; want one of %v", v, Targets)
	}
	return nil
}
