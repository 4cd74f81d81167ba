package tui

import (
	"swerve/control"
	human "swerve/control/say"
)

// problems lists what a person should look at, each with what to do.
func (p *page) problems() section {
	long, short := p.problemLines(2), p.problemLines(1)
	title := p.ruled(problemsPart, "PROBLEMS", "")
	choose := func(rows int) section {
		if rows < len(long) {
			return p.fixed(problemsPart, 2, short, title)
		}
		return p.fixed(problemsPart, 2, long, title)
	}
	return section{
		part: problemsPart, title: title, least: min(2, len(short)),
		want:   min(len(long), max(p.room()/3, 4)), // the rest is a scroll away
		limit:  func(rows int) int { return choose(rows).limit(rows) },
		window: func(rows, scroll int) ([]line, string) { return choose(rows).window(rows, scroll) },
	}
}

// problemLines are all problems, with at most so many lines for each text.
func (p *page) problemLines(most int) (lines []line) {
	for _, problem := range p.snap.Status.Problems {
		lines = append(lines, p.problem(problem, most)...)
	}
	return lines
}

// problemIndent is where the texts stand: after the longest severity.
const problemIndent = 14

func (p *page) problem(problem control.Problem, most int) []line {
	severity := line{blank(2), say(severityTone(problem.Severity),
		p.severityMark(problem.Severity)+" "+string(problem.Severity))}
	lines := p.hanging(severity, problemIndent, most, human.Problem(p.snap.Status.Now, problem))
	if problem.Remedy != "" {
		arrow := line{blank(problemIndent), say(faint, p.to)}
		lines = append(lines, p.hanging(arrow, problemIndent+columns(p.to)+1, most, problem.Remedy)...)
	}
	return lines
}

// hanging is a text of at most so many lines, all at the same column, the first
// behind its beginning.
func (p *page) hanging(begin line, indent, most int, text string) (lines []line) {
	for i, l := range wrap(human.Clean(text), p.size.width-indent, most, p.ellipsis) {
		if i > 0 {
			begin = nil
		}
		lines = append(lines, begin.padTo(indent).and(say(plain, l)))
	}
	return lines
}
