package tui

import (
	"fmt"

	human "swerve/control/say"
)

// help is the page that explains the others. It fits on the least of the terminals
// that are common.
func (p *page) help() []line {
	var lines []line
	for _, row := range [][2]string{
		{"q ctrl+c", "quit"},
		{"p space", "let the page stand still, and go on"},
		{"tab", "the section to scroll: " + p.theme.scroll + " marks it"},
		{p.up + p.down + " pgup pgdn g G", "scroll it; G: back to the newest events"},
		{"t", "trends over 1, 5 or 15 minutes"},
		{"f", "show or hide doubts that came to nothing"},
		{"r", "look for the daemon now"},
	} {
		lines = append(lines, line{blank(2), say(strong, row[0])}.padTo(20).and(say(plain, row[1])))
	}
	lines = append(lines, nil)
	for _, row := range [][2]string{
		{p.carries, "carries the new flows of a policy"},
		{p.full + " up", "answers"},
		{p.half + " degraded", "over a limit; or suspect, recovering"},
		{p.cross + " shunned", "silent: new flows go elsewhere"},
		{p.cross + " down", "silent for longer: sessions move"},
		{p.dot + " absent", "the family is not offered there"},
		{p.bars[0] + p.bars[3] + p.bars[7] + " RTT", "least shown, up to half more or +10 ms"},
		{p.bars[0] + p.bars[3] + p.bars[7] + " LOSS", "none; up to 1 2 5 10 20 50 %; more"},
		{human.NotKnown, "not measured"},
	} {
		lines = append(lines, line{blank(2), say(plain, row[0])}.padTo(20).and(say(plain, row[1])))
	}
	return append(lines, line{blank(2), say(faint, fmt.Sprintf("The daemon's socket: %s", p.snap.Socket))})
}
