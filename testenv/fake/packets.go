package fake

import (
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"swerve/failover"
	"swerve/firewall"
	"swerve/lane"
)

// Packets keeps a table as its text. Its mutex guards the fields below it.
type Packets struct {
	Journal *Journal
	// Changed has a token after each change.
	Changed chan struct{}

	sync.Mutex
	held string // empty: there is no table
	goal firewall.Goal
	// Refuse, if set, is the error of each change.
	Refuse error
	// Untracked: the machine has tracked no connections.
	Untracked bool
	// Marks is what rules of other programs use of marks.
	Marks firewall.MarkUses
	// Marked are the marks of flows at a first start.
	Marked []uint32
	// Native is what an adoption finds, by uplink.
	Native map[lane.Lane][]netip.Prefix
	Plain  map[lane.Lane][]firewall.Ends
	// Unadopted, if set, is the error of adopting flows.
	Unadopted error
}

// Apply replaces the whole table.
func (p *Packets) Apply(t firewall.Table) error { return p.hold("nft apply", t) }

// Move changes one table into another.
func (p *Packets) Move(from, to firewall.Table) error {
	if from.String() == to.String() {
		return nil
	}
	return p.hold("nft move", to)
}

func (p *Packets) hold(how string, t firewall.Table) error {
	p.Lock()
	defer p.Unlock()
	if p.Refuse != nil {
		return p.Refuse
	}
	if err := p.Journal.Note("%s", how); err != nil {
		return err
	}
	p.held, p.goal = t.String(), t.Goal()
	Poke(p.Changed)
	return nil
}

// Drift reports how the table that is held differs from t.
func (p *Packets) Drift(t firewall.Table) ([]string, error) {
	p.Lock()
	defer p.Unlock()
	switch p.held {
	case t.String():
		return nil, nil
	case "":
		return []string{"table inet swerve is missing"}, nil
	}
	return []string{"table inet swerve differs"}, nil
}

// Hold records the interfaces and the time.
func (p *Packets) Hold(lapsed string, others []string, wait time.Duration) error {
	return p.Journal.Note("hold %s off %s for %v", lapsed, strings.Join(others, " "), wait)
}

// FiltersReversePaths reports that no rule does.
func (p *Packets) FiltersReversePaths() (bool, error) { return false, nil }

// Blind reports what is set.
func (p *Packets) Blind() (bool, error) { return p.Untracked, nil }

// TellsWildcards reports that it does.
func (p *Packets) TellsWildcards() bool { return true }

// MarkUses reports what is set, and what is held.
func (p *Packets) MarkUses() (firewall.MarkUses, error) {
	p.Lock()
	defer p.Unlock()
	uses := p.Marks
	if p.held != "" {
		uses.Ours = p.goal.Layout.MarkMask
	}
	return uses, nil
}

// FlowMarks reports what is set.
func (p *Packets) FlowMarks() ([]uint32, error) {
	p.Lock()
	defer p.Unlock()
	return slices.Clone(p.Marked), nil
}

// Teardown removes the table.
func (p *Packets) Teardown(lane.Layout) error {
	p.Flush()
	return p.Journal.Note("nft teardown")
}

// Watch records the call.
func (p *Packets) Watch() error { return p.Journal.Note("watch flows") }

// AdoptFlows records the call.
func (p *Packets) AdoptFlows(firewall.Goal, ...lane.Lane) (firewall.Adoption, error) {
	if p.Unadopted != nil {
		return firewall.Adoption{}, p.Unadopted
	}
	return firewall.Adoption{Native: p.Native, Plain: p.Plain}, p.Journal.Note("adopt flows")
}

// Heal records the call.
func (p *Packets) Heal(firewall.Goal) (int, error) { return 0, p.Journal.Note("heal flows") }

// Flush deletes the table, as another program would.
func (p *Packets) Flush() {
	p.Lock()
	defer p.Unlock()
	p.held = ""
	Poke(p.Changed)
}

// Text returns the table that is held.
func (p *Packets) Text() string {
	p.Lock()
	defer p.Unlock()
	return p.held
}

var deadElement = regexp.MustCompile(`(0x[0-9a-f]{8}) : goto dead_`)

// Observe reads the lost pairs back from the table's text, and what was found from its
// goal.
func (p *Packets) Observe(l lane.Layout) (firewall.Observed, error) {
	out := firewall.Observed{Exists: p.Text() != "", Native: map[lane.Lane][]netip.Prefix{}, Plain: map[lane.Lane][]firewall.Ends{}}
	p.Lock()
	for _, u := range p.goal.Uplinks {
		if out.Exists && len(u.Found)+len(u.Plain) > 0 {
			out.Native[u.Lane], out.Plain[u.Lane] = u.Found, u.Plain
		}
	}
	p.Unlock()
	for _, f := range failover.Families {
		_, rest, _ := strings.Cut(p.Text(), "map dead_"+f.String())
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
