package config

import (
	"fmt"
	"strconv"
	"strings"
)

// booleans are YAML 1.1's words for a boolean, in lower case.
var booleans = map[string]bool{
	"true": true, "yes": true, "on": true,
	"false": false, "no": false, "off": false,
}

// truth reads one of YAML's words for a boolean, in any case.
func truth(s string) (value, ok bool) {
	value, ok = booleans[strings.ToLower(s)]
	return value, ok
}

var boolean = parsed("true or false", "is neither true nor false", truth)

// choice is one word of a closed set, and the value that it stands for.
type choice[V any] struct {
	word  string
	value V
	// also says which of YAML's words for a boolean select it as well.
	also meaning
}

// meaning is the boolean that a word stands for, if any.
type meaning int

const (
	nothing meaning = iota
	yes
	no
)

// means reports whether a text is one of YAML's words with this meaning.
func (m meaning) means(s string) bool {
	v, ok := truth(s)
	return ok && (v && m == yes || !v && m == no)
}

// words reads one of the choices.
func words[V any](choices ...choice[V]) reader[V] {
	all := make([]string, len(choices))
	for i, c := range choices {
		all[i] = c.word
	}
	return func(d *decoder, n node) (value V, ok bool) {
		s, ok := d.text(n, or(all))
		if !ok {
			return value, false
		}
		for _, c := range choices {
			if s == c.word || c.also.means(s) {
				return c.value, true
			}
		}
		d.wrong(n, show(s)+" is not allowed", orMeant(s, all))
		return value, false
	}
}

// either reads one of two words as true or false. YAML's words for true and false
// select them as well.
func either(ifYes, ifNo string) reader[bool] {
	return words(choice[bool]{ifYes, true, yes}, choice[bool]{ifNo, false, no})
}

// isNone reports whether a word means none: none, never, or one of YAML's words for
// false.
func isNone(s string) bool { return s == noneWord || s == neverWord || no.means(s) }

// orMeant returns what would be right instead of s: the word that it resembles, if
// any, and the list of all words.
func orMeant(s string, all []string) string {
	if like, ok := nearest(s, all); ok {
		return "did you mean " + like + "? It takes " + or(all)
	}
	return or(all)
}

// same returns choices whose values are the words themselves. YAML's words for
// false select none as well.
func same[S ~string](values ...S) []choice[S] {
	list := make([]choice[S], len(values))
	for i, v := range values {
		list[i] = choice[S]{word: string(v), value: v}
		if v == noneWord {
			list[i].also = no
		}
	}
	return list
}

// integer reads a whole number from least to most, decimal or 0x….
func integer(least, most int) reader[int] {
	want := fmt.Sprintf("a whole number from %d to %d", least, most)
	return func(d *decoder, n node) (int, bool) {
		s, ok := d.text(n, want)
		if !ok {
			return 0, false
		}
		v, err := parseInt(s)
		switch {
		case err != nil:
			d.wrong(n, show(s)+" is not a whole number", want)
		case v < int64(least):
			d.wrong(n, show(s)+" is below the minimum", fmt.Sprintf("at least %d", least))
		case v > int64(most):
			d.wrong(n, show(s)+" is above the maximum", fmt.Sprintf("at most %d", most))
		default:
			return int(v), true
		}
		return 0, false
	}
}

// parseInt reads a decimal number, or a hexadecimal one with the prefix 0x. A
// leading 0 does not mean octal, as in YAML 1.2.
func parseInt(s string) (int64, error) {
	if hex, ok := strings.CutPrefix(strings.ToLower(s), "0x"); ok {
		return strconv.ParseInt(hex, 16, 64)
	}
	return strconv.ParseInt(s, 10, 64)
}

// points reads a number above 0 and up to most.
func points(most float64) reader[float64] {
	want := fmt.Sprintf("a number above 0, at most %g", most)
	return func(d *decoder, n node) (float64, bool) {
		s, ok := d.text(n, want)
		if !ok {
			return 0, false
		}
		v, err := strconv.ParseFloat(s, 64)
		if err != nil || !(v > 0) || v > most {
			d.wrong(n, show(s)+" is not a valid number", want)
			return 0, false
		}
		return v, true
	}
}
