package say

import (
	"strings"
	"unicode"
)

// Clean makes text from elsewhere fit to be shown on one line of a terminal. White
// space becomes spaces; what would control the terminal, or has a width on which
// terminals disagree, becomes '?'. Names and reasons contain pieces that come from
// servers on the internet, and from whoever may name a network interface.
func Clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case r == unicode.ReplacementChar, !unicode.IsPrint(r), unicode.Is(unicode.Variation_Selector, r):
			return '?'
		}
		return r
	}, s)
}

// OneLine is Clean with each run of white space as one space, and none at the ends.
func OneLine(s string) string { return Clean(strings.Join(strings.Fields(s), " ")) }
