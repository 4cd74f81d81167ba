package tui

import (
	"swerve/control"
	human "swerve/control/say"
)

// problems lists what needs attention, each with its remedy. Their texts take one line
// each where not all fit, and two at most, until the section is in focus: then they are
// there as a whole, to be scrolled through.
func (p *picture) problems() section {
	const unlimited = 1 << 10
	s := section{part: problemsPart, name: "PROBLEMS", least: 2, leave: 4, grow: 2}
	long, short, all := p.problemLines(2), p.problemLines(1), p.problemLines(unlimited)
	if p.set.focus == problemsPart {
		s = p.fixed(s, all)
		s.want = min(len(all), max(p.height/2, 4))
		return s
	}
	s = p.fixed(s, short)
	brief, whole := s, p.fixed(s, long)
	choose := func(rows int) section {
		if rows < len(long) {
			return brief
		}
		return whole
	}
	s.want = min(len(long), max(p.height/3, 4)) // the user can scroll to the rest
	s.limit = func(rows int) int { return choose(rows).limit(rows) }
	s.window = func(rows, scroll int) ([]line, string) { return choose(rows).window(rows, scroll) }
	s.cut = func(rows int) bool { return len(all) > min(rows, len(long)) }
	return s
}

// problemLines returns all problems, with at most so many lines for each text.
func (p *picture) problemLines(most int) (lines []line) {
	for _, problem := range p.snap.Status.Problems {
		lines = append(lines, p.problem(problem, most)...)
	}
	return lines
}

// problemIndent is the column of the texts, after the longest severity.
const problemIndent = 14

func (p *picture) problem(problem control.Problem, most int) []line {
	severity := line{blank(2), say(severityTone(problem.Severity),
		p.severityMark(problem.Severity)+" "+string(problem.Severity))}
	lines := p.hanging(severity, problemIndent, most, plain, human.Problem(p.snap.Status.Now, problem))
	if problem.Remedy != "" {
		arrow := line{blank(problemIndent), say(faint, p.to)}
		lines = append(lines, p.hanging(arrow, problemIndent+columns(p.to)+1, most, plain, problem.Remedy)...)
	}
	return lines
}
