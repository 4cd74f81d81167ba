package tui

import (
	"strings"

	"github.com/charmbracelet/lipgloss"
)

// columns is how many cells of the terminal a text takes: two for the wide
// characters of East Asia, none for marks that combine.
func columns(s string) int { return lipgloss.Width(s) }

// fit returns the longest beginning of s that takes at most n cells.
func fit(s string, n int) string {
	if n <= 0 {
		return ""
	}
	if columns(s) <= n {
		return s
	}
	return lipgloss.NewStyle().MaxWidth(n).Render(s)
}

// cut is fit with an ellipsis where something was left out.
func cut(s string, n int, ellipsis string) string {
	if columns(s) <= n {
		return s
	}
	if n < columns(ellipsis) {
		return fit(s, n)
	}
	return strings.TrimRight(fit(s, n-columns(ellipsis)), " ") + ellipsis
}

// wrap breaks text at spaces into at most most lines of n cells; the last one ends
// with the ellipsis where there is more. A word that is longer than a line is
// broken.
func wrap(text string, n, most int, ellipsis string) []string {
	var lines []string
	line := ""
	for _, word := range words(text, n) {
		switch {
		case line == "":
			line = word
		case columns(line)+1+columns(word) <= n:
			line += " " + word
		default:
			lines = append(lines, line)
			line = word
		}
		if len(lines) == most {
			last := lines[most-1] + " " + line
			lines[most-1] = cut(last+ellipsis, n, ellipsis)
			return lines
		}
	}
	return append(lines, line)
}

// words splits text at spaces, and what takes more than n cells into pieces.
func words(text string, n int) []string {
	var out []string
	for _, word := range strings.Fields(text) {
		for columns(word) > n {
			piece := fit(word, n)
			if piece == "" {
				break // one wide character where one cell is
			}
			out, word = append(out, piece), word[len(piece):]
		}
		out = append(out, word)
	}
	return out
}
