package tui

import (
	"strings"

	"swerve/control"
)

// problems lists what a person should look at, each with what to do.
func (p *page) problems() section {
	most := max(p.room()/3, 4) // the rest is a scroll away
	body := p.problemLines(2)
	if len(body) > most {
		body = p.problemLines(1)
	}
	s := p.fixed(problemsPart, 2, body, p.ruled(problemsPart, "PROBLEMS", ""))
	s.want = min(s.want, most)
	return s
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
	text := problem.Text
	if problem.Object != "" && !strings.Contains(text, problem.Object) {
		text = problem.Object + ": " + text
	}
	if !problem.Since.IsZero() {
		text += " (for " + ageAt(p.snap.Status.Now, problem.Since) + ")"
	}
	severity := line{blank(2), say(severityTone(problem.Severity),
		p.severityMark(problem.Severity)+" "+string(problem.Severity))}
	lines := p.hanging(severity, problemIndent, most, text)
	if problem.Remedy != "" {
		arrow := line{blank(problemIndent), say(faint, p.to)}
		lines = append(lines, p.hanging(arrow, problemIndent+columns(p.to)+1, most, problem.Remedy)...)
	}
	return lines
}

// hanging is a text of at most so many lines, all at the same column, the first
// behind its beginning.
func (p *page) hanging(begin line, indent, most int, text string) (lines []line) {
	for i, l := range wrap(clean(text), p.size.width-indent, most, p.ellipsis) {
		if i > 0 {
			begin = nil
		}
		lines = append(lines, begin.padTo(indent).and(say(plain, l)))
	}
	return lines
}
