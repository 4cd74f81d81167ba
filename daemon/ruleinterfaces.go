package daemon

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/vishvananda/netlink"

	"swerve/config"
	"swerve/control"
)

// lookForInterfaces is how often it is looked whether this machine has the interfaces that
// rules name.
const lookForInterfaces = time.Minute

// mostStrangeInterfaces bounds the interfaces that have a problem each.
const mostStrangeInterfaces = 8

// ruleInterfaces looks after the interfaces that rules name, in a goroutine of its own: a
// machine may have thousands of interfaces.
type ruleInterfaces struct {
	// read is Machine.Interfaces.
	read     func() ([]string, error)
	problems *problems
	changed  chan struct{}

	mu         sync.Mutex
	generation uint64
	cfg        *config.Config
}

func newRuleInterfaces(read func() ([]string, error), p *problems) *ruleInterfaces {
	return &ruleInterfaces{read: read, problems: p, changed: make(chan struct{}, 1)}
}

// follow sets the configuration, with its generation.
func (r *ruleInterfaces) follow(generation uint64, cfg *config.Config) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.generation == generation {
		return
	}
	r.generation, r.cfg = generation, cfg
	wake(r.changed)
}

// run looks until ctx ends.
func (r *ruleInterfaces) run(ctx context.Context) error {
	if r.read == nil {
		<-ctx.Done()
		return nil
	}
	return each(ctx, lookForInterfaces, r.changed, r.look)
}

func (r *ruleInterfaces) look() {
	r.mu.Lock()
	cfg := r.cfg
	r.mu.Unlock()
	if cfg == nil {
		return
	}
	if found, err := strangeInterfaces(cfg, r.read); err == nil {
		r.problems.replace("rule interfaces", strangeProblems(found))
	}
}

// interfaceNames returns the names of this machine's interfaces.
func interfaceNames() ([]string, error) {
	links, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("daemon: list the interfaces: %w", err)
	}
	var names []string
	for _, l := range links {
		names = append(names, l.Attrs().Name)
	}
	return names, nil
}

// strangeInterface is one that rules name, and this machine does not have.
type strangeInterface struct {
	name string
	// rules are the numbers of the rules, from 0, the first with its line.
	rules []int
	line  int
	// uplink: it is the name of an uplink instead.
	uplink bool
}

// strangeInterfaces returns those that rules name, and that are not among what read returns.
// Where no rule names any, nothing is read.
func strangeInterfaces(cfg *config.Config, read func() ([]string, error)) (all []strangeInterface, err error) {
	if !slices.ContainsFunc(cfg.Rules, func(r config.Rule) bool { return len(r.In) > 0 }) {
		return nil, nil
	}
	names, err := read()
	if err != nil {
		return nil, err
	}
	for i, r := range cfg.Rules {
		for _, name := range r.In {
			if slices.Contains(names, name) {
				continue
			}
			at := slices.IndexFunc(all, func(s strangeInterface) bool { return s.name == name })
			if at < 0 {
				at = len(all)
				isUplink := slices.ContainsFunc(cfg.Uplinks, func(u config.Uplink) bool { return u.Name == name })
				all = append(all, strangeInterface{name: name, line: r.Line, uplink: isUplink})
			}
			all[at].rules = append(all[at].rules, i)
		}
	}
	return all, nil
}

// text says what it is, with the rules as the configuration counts them.
func (s strangeInterface) text() string {
	var rules []string
	for _, n := range s.rules[:min(len(s.rules), mostStrangeInterfaces)] {
		rules = append(rules, fmt.Sprintf("rules[%d].in", n))
	}
	where := strings.Join(rules, ", ")
	if more := len(s.rules) - len(rules); more > 0 {
		where += fmt.Sprintf(" and %d more", more)
	}
	if s.uplink {
		return fmt.Sprintf("%s (line %d): %s is an uplink, not an interface, and no rule applies to what comes in by an uplink, which is answered by it", where, s.line, s.name)
	}
	return fmt.Sprintf("%s (line %d): this machine has no interface %s now, so nothing matches by it until there is one", where, s.line, s.name)
}

func strangeProblems(all []strangeInterface) []control.Problem {
	var out []control.Problem
	for i, s := range all {
		p := control.Problem{Code: "rule-interface", Severity: control.Info, Object: s.name, Text: s.text(),
			Remedy: "correct the name (ip link lists the interfaces; an altname is none), unless it comes later, as a VPN's may"}
		if s.uplink {
			p.Severity, p.Remedy = control.Warning, "name the interface of the LAN by which such traffic comes in"
		}
		if i == mostStrangeInterfaces {
			p.Object, p.Text = "rules", fmt.Sprintf("rules name %d more interfaces that this machine does not have now", len(all)-i)
			return append(out, p)
		}
		out = append(out, p)
	}
	return out
}

// ruleWarnings returns what check says of the interfaces that rules name.
func ruleWarnings(cfg *config.Config) (list []string) {
	found, _ := strangeInterfaces(cfg, interfaceNames)
	for _, s := range found {
		list = append(list, s.text())
	}
	return list
}
