package daemon

import (
	"fmt"
	"maps"
	"strings"

	"swerve/control"
	"swerve/failover"
)

// leastAnswers is the number of answers that a judgement of where they come in needs.
const leastAnswers = 3

// AnswerCount is the packet filter's count of the answers to an uplink's probes by
// family: those that came in by the uplink, and those that came by another device;
// and of the answers to its other flows that came in by another uplink.
type AnswerCount struct {
	Came, Away [2]uint64
	Returned   uint64
}

// answerSource is where the answers to an uplink's probes come in. The set is closed.
type answerSource uint8

const (
	// byItself: by the uplink, or at least some of them.
	byItself answerSource = iota
	// byAnother: all by another device, and that is how the line is: they never came
	// otherwise, or those of its other flows come so as well.
	byAnother
	// astrayed: all by another device, and they came by the uplink before. What answers
	// is not proof of the uplink.
	astrayed
)

// answerCheck judges whether the answers to an uplink's probes are proof of it. The
// kernel gives an answer to whoever asked, whatever device it comes by. On lines with
// asymmetric return that is right; but an uplink that is dead in the direction to here
// has to be left although somebody answers by another way. The loop owns it.
type answerCheck struct {
	from map[string]AnswerCount
	// came has, by uplink and family, whether answers ever came by the uplink.
	came   map[string][2]bool
	source map[string][2]answerSource
}

func newAnswerCheck() answerCheck {
	return answerCheck{from: map[string]AnswerCount{}, came: map[string][2]bool{}, source: map[string][2]answerSource{}}
}

// counts reports whether an answer to a probe of an uplink counts.
func (c *answerCheck) counts(uplink string, f failover.Family) bool {
	return c.source[uplink][f] != astrayed
}

// compare evaluates the packet filter's latest counts for an uplink; known reports
// whether there are any.
func (c *answerCheck) compare(uplink string, now AnswerCount, known bool) {
	before, begun := c.from[uplink]
	if !known || !begun || now.before(before) {
		delete(c.from, uplink)
		if known {
			c.from[uplink] = now // a first reading, or a new table
		}
		return
	}
	next, source, came := before, c.source[uplink], c.came[uplink]
	for f := range source {
		own, away := now.Came[f]-before.Came[f], now.Away[f]-before.Away[f]
		if own+away < leastAnswers {
			continue // not enough answers yet
		}
		next.Came[f], next.Away[f] = now.Came[f], now.Away[f]
		switch {
		case own > 0:
			source[f], came[f] = byItself, true
		case !came[f] || now.Returned > before.Returned:
			source[f] = byAnother
		case source[f] == byItself:
			source[f] = astrayed
		}
	}
	next.Returned = now.Returned
	c.from[uplink], c.source[uplink], c.came[uplink] = next, source, came
}

// before reports whether counts are smaller than others, as those of a new table are.
func (n AnswerCount) before(o AnswerCount) bool {
	less := n.Returned < o.Returned
	for f := range n.Came {
		less = less || n.Came[f] < o.Came[f] || n.Away[f] < o.Away[f]
	}
	return less
}

// retain forgets uplinks that are no longer used.
func (c *answerCheck) retain(uplink func(string) bool) {
	unused := func(name string) bool { return !uplink(name) }
	maps.DeleteFunc(c.from, func(name string, _ AnswerCount) bool { return unused(name) })
	maps.DeleteFunc(c.came, func(name string, _ [2]bool) bool { return unused(name) })
	maps.DeleteFunc(c.source, func(name string, _ [2]answerSource) bool { return unused(name) })
}

// problems returns the problems of answers that come by other devices.
func (c *answerCheck) problems(interfaceOf func(string) string) []control.Problem {
	var out []control.Problem
	for name, source := range c.source {
		var families [3][]string
		for _, f := range failover.Families {
			families[source[f]] = append(families[source[f]], f.String())
		}
		p := control.Problem{Code: "answers-elsewhere", Severity: control.Warning, Object: name,
			Remedy: "see tcpdump -ni any icmp or icmp6 for who answers and by which interface; mend the provider's return route, or stop who answers"}
		switch list := strings.Join(families[astrayed], " and "); {
		case list != "":
			p.Text = fmt.Sprintf("all answers to the %s probes of %s come in by another interface than %s, which they did not before, so they do not prove it", list, name, interfaceOf(name))
		case len(families[byAnother]) > 0:
			p.Severity = control.Info
			p.Text = fmt.Sprintf("all answers to the %s probes of %s come in by another interface than %s; what arrives by %s itself is not watched",
				strings.Join(families[byAnother], " and "), name, interfaceOf(name), interfaceOf(name))
		default:
			continue
		}
		out = append(out, p)
	}
	control.SortProblems(out)
	return out
}
