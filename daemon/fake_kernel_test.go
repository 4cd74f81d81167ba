package daemon

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"swerve/failover"
	"swerve/firewall"
	"swerve/routing"
)

// journal lists what was done to the fake kernel, in order.
type journal struct {
	mu    sync.Mutex
	lines []string
	// dead: nothing is done any more after some lines, as if the daemon was killed.
	dead      bool
	deadAfter int
}

var errKilled = errors.New("the daemon is dead")

// note writes a line, or says why it is not done.
func (j *journal) note(format string, args ...any) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.dead && len(j.lines) >= j.deadAfter {
		return errKilled
	}
	j.lines = append(j.lines, fmt.Sprintf(format, args...))
	return nil
}

// take returns what was noted since the last take.
func (j *journal) take() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	lines := j.lines
	j.lines = nil
	return lines
}

// with returns the lines that hold a text.
func with(lines []string, text string) []string {
	return slices.DeleteFunc(slices.Clone(lines), func(l string) bool { return !strings.Contains(l, text) })
}

// poke leaves a token in a channel with room for one.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// fakeRoutes has the kernel's semantics of slots, rules and devices, and nothing
// else. It tells of each change, whoever made it, as rtnetlink does.
type fakeRoutes struct {
	journal *journal
	changed func()

	mu     sync.Mutex
	routes []routing.Route // ours
	others []routing.Route // default routes of other programs
	rules  []routing.Rule
	// on are the devices, by index, that are there and switched on.
	on map[int]bool
	// refuse, when set, may fail an op; unread, when set, a reading.
	refuse func(routing.Op) error
	unread error
}

func (k *fakeRoutes) Read() (routing.State, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.unread != nil {
		return routing.State{}, k.unread
	}
	var s routing.State
	for _, r := range k.routes {
		r.Hops = slices.Clone(r.Hops)
		for i := range r.Hops {
			r.Hops[i].Device = "" // the kernel tells numbers only
		}
		s.Routes = append(s.Routes, r)
	}
	s.Rules = slices.Clone(k.rules)
	return s, nil
}

func (k *fakeRoutes) Foreign(failover.Layout) ([]routing.Route, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.others), nil
}

func (k *fakeRoutes) Do(op routing.Op) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.refuse != nil {
		if err := k.refuse(op); err != nil {
			return err
		}
	}
	for _, h := range op.Route.Hops {
		if op.Action != routing.DeleteRoute && !k.on[h.Index] {
			return unix.ENETDOWN
		}
	}
	inSlot := func(r routing.Route) bool { return r.Slot == op.Route.Slot }
	if op.Action == routing.AddRoute && (slices.ContainsFunc(k.routes, inSlot) || slices.ContainsFunc(k.others, inSlot)) {
		return unix.EEXIST
	}
	if err := k.journal.note("%s", op); err != nil {
		return err
	}
	k.do(op)
	k.changed()
	return nil
}

func (k *fakeRoutes) do(op routing.Op) {
	slot := slices.IndexFunc(k.routes, func(r routing.Route) bool { return r.Slot == op.Route.Slot })
	switch op.Action {
	case routing.ReplaceRoute, routing.AddRoute:
		if slot >= 0 {
			k.routes[slot] = op.Route
		} else {
			k.routes = append(k.routes, op.Route)
		}
	case routing.DeleteRoute:
		if slot >= 0 {
			k.routes = slices.Delete(k.routes, slot, slot+1)
		}
	case routing.AddRule:
		if !slices.Contains(k.rules, op.Rule) {
			k.rules = append(k.rules, op.Rule)
		}
	case routing.DeleteRule:
		k.rules = slices.DeleteFunc(k.rules, func(r routing.Rule) bool { return r == op.Rule })
	}
}

// device switches a device on or off; with it go the routes by it.
func (k *fakeRoutes) device(index int, on bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.on[index] = on
	if !on {
		k.routes = slices.DeleteFunc(k.routes, func(r routing.Route) bool {
			return slices.ContainsFunc(r.Hops, func(h routing.Hop) bool { return h.Index == index })
		})
	}
	k.changed()
}

// lose deletes rules and routes of ours, as another program would.
func (k *fakeRoutes) lose(rule func(routing.Rule) bool, route func(routing.Route) bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.rules = slices.DeleteFunc(k.rules, rule)
	k.routes = slices.DeleteFunc(k.routes, route)
	k.changed()
}

// ladder lists the devices of a table's default routes, best first.
func (k *fakeRoutes) ladder(f failover.Family, table int) []int {
	k.mu.Lock()
	defer k.mu.Unlock()
	var in []routing.Route
	for _, r := range k.routes {
		if r.Family == f && r.Table == table {
			in = append(in, r)
		}
	}
	slices.SortFunc(in, func(a, b routing.Route) int { return int(a.Metric) - int(b.Metric) })
	var out []int
	for _, r := range in {
		for _, h := range r.Hops {
			out = append(out, h.Index)
		}
	}
	return out
}

// keeps counts the rules that keep packets on a device, on any where none is named.
func (k *fakeRoutes) keeps(device string) (n int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, r := range k.rules {
		if r.OIF != "" && (r.OIF == device || device == "") {
			n++
		}
	}
	return n
}

// ruleTexts are the rules that hold a text. It is dear: for a look now and then.
func (k *fakeRoutes) ruleTexts(text string) []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	var out []string
	for _, r := range k.rules {
		out = append(out, r.String())
	}
	return with(out, text)
}

// fakePackets keeps a table by its text.
type fakePackets struct {
	journal *journal
	changed chan struct{}

	mu     sync.Mutex
	held   string // empty: there is no table
	refuse error
	// unadopted, when set, is why flows are not adopted.
	unadopted error
}

func (p *fakePackets) Apply(t firewall.Table) error { return p.hold("nft apply", t) }

func (p *fakePackets) Move(from, to firewall.Table) error {
	if from.String() == to.String() {
		return nil
	}
	return p.hold("nft move", to)
}

func (p *fakePackets) hold(how string, t firewall.Table) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refuse != nil {
		return p.refuse
	}
	if err := p.journal.note("%s", how); err != nil {
		return err
	}
	p.held = t.String()
	poke(p.changed)
	return nil
}

func (p *fakePackets) Drift(t firewall.Table) ([]string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch p.held {
	case t.String():
		return nil, nil
	case "":
		return []string{"table inet swerve is missing"}, nil
	}
	return []string{"table inet swerve differs"}, nil
}

func (p *fakePackets) AdoptFlows(firewall.Goal) (int, error) {
	if p.unadopted != nil {
		return 0, p.unadopted
	}
	return 0, p.journal.note("adopt flows")
}

// flush deletes the table, as another program would.
func (p *fakePackets) flush() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held = ""
	poke(p.changed)
}

// text is the table that is held.
func (p *fakePackets) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.held
}

var deadElement = regexp.MustCompile(`(0x[0-9a-f]{8}) : goto dead_`)

// Observe reads the lost pairs back from the table's text.
func (p *fakePackets) Observe(l failover.Layout) (firewall.Observed, error) {
	out := firewall.Observed{Exists: p.text() != ""}
	for _, f := range failover.Families {
		_, rest, _ := strings.Cut(p.text(), "map dead_"+f.String())
		elements, _, _ := strings.Cut(rest, "\n  }")
		for _, m := range deadElement.FindAllStringSubmatch(elements, -1) {
			mark, err := strconv.ParseUint(m[1], 0, 32)
			if err != nil {
				return out, err
			}
			up, policy := l.CTLanes(uint32(mark))
			out.Lost[f] = append(out.Lost[f], firewall.Pair{Uplink: up, Policy: policy})
		}
	}
	return out, nil
}

// fakeSysctls is a machine whose sysctls are wrong until they are set.
type fakeSysctls struct {
	journal *journal

	mu     sync.Mutex
	right  []routing.Interface
	refuse error
	// report: they are not ours to set.
	report bool
	// strict: rp_filter is.
	strict bool
	// tries are when it was tried.
	tries []time.Time
}

func (s *fakeSysctls) Set(uplinks []routing.Interface) ([]routing.Setting, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tries = append(s.tries, time.Now())
	var wrong []routing.Setting
	for _, u := range uplinks {
		switch {
		case slices.Contains(s.right, u):
		case s.refuse != nil || s.report:
			wrong = append(wrong, routing.Setting{Interface: u.Name, Key: "net/ipv4/conf/" + u.Name + "/src_valid_mark", Value: "0", Want: "1"})
		default:
			if err := s.journal.note("sysctl %s", u.Name); err != nil {
				return nil, err
			}
			s.right = append(s.right, u)
		}
	}
	if len(wrong) == 0 {
		return nil, nil
	}
	return wrong, s.refuse
}

func (s *fakeSysctls) Survey([]routing.Interface) []routing.Finding { return nil }
func (s *fakeSysctls) Strict(string) bool                           { return s.strict }

// fakeFlows notes what is asked of it.
type fakeFlows struct{ journal *journal }

func (f *fakeFlows) Heal(firewall.Goal) (int, error) { return 3, f.journal.note("heal flows") }

func (f *fakeFlows) Grace(interfaces []string) error {
	return f.journal.note("grace %s", strings.Join(interfaces, " "))
}

func (f *fakeFlows) DeleteFlows(_ failover.Layout, family failover.Family, uplink failover.Lane, policies []failover.Lane) error {
	return f.journal.note("delete %s flows of %d by %d", family, uplink, policies)
}

func (f *fakeFlows) DestroySockets(_ failover.Layout, _ failover.Lane, lost netip.Addr) (int, error) {
	return 1, f.journal.note("destroy sockets on %s", lost)
}
