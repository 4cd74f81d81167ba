package config

import (
	"fmt"
	"strconv"
	"strings"
)

// YAML 1.1's words for a boolean, in any case of letters.
var booleans = map[string]bool{
	"true": true, "yes": true, "on": true,
	"false": false, "no": false, "off": false,
}

// truth reads one of YAML's words for a boolean.
func truth(s string) (value, ok bool) {
	value, ok = booleans[strings.ToLower(s)]
	return value, ok
}

func boolean(d *decoder, n node) (bool, bool) {
	const want = "true or false"
	s, ok := d.text(n, want)
	if !ok {
		return false, false
	}
	v, ok := truth(s)
	if !ok {
		d.wrong(n, show(s)+" is neither true nor false", want)
	}
	return v, ok
}

// choice is one word of a closed set, and the value that it stands for.
type choice[V any] struct {
	word  string
	value V
	// also says which of YAML's words for a boolean mean it as well.
	also meaning
}

// meaning is what a word has to do with yes and no.
type meaning int

const (
	nothing meaning = iota
	yes
	no
)

// means reports whether a text is one of YAML's words for the meaning.
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

// either reads one of two words, the first of which is also yes, the other no.
func either(ifYes, ifNo string) reader[bool] {
	return words(choice[bool]{ifYes, true, yes}, choice[bool]{ifNo, false, no})
}

// isNone reports whether a word says that there shall be nothing.
func isNone(s string) bool { return s == noneWord || s == neverWord || no.means(s) }

// orMeant is what would be right instead of s: the word that it resembles, and
// all words.
func orMeant(s string, all []string) string {
	if like, ok := nearest(s, all); ok {
		return "did you mean " + like + "? It takes " + or(all)
	}
	return or(all)
}

// same makes choices whose values are the words themselves. The word for none
// means no as well.
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
			d.wrong(n, show(s)+" is no whole number", want)
		case v < int64(least):
			d.wrong(n, show(s)+" is under the least", fmt.Sprintf("at least %d", least))
		case v > int64(most):
			d.wrong(n, show(s)+" is over the most", fmt.Sprintf("at most %d", most))
		default:
			return int(v), true
		}
		return 0, false
	}
}

// parseInt reads a decimal number, or a hexadecimal one after 0x. A leading 0
// means nothing here, as in YAML 1.2.
func parseInt(s string) (int64, error) {
	if hex, ok := strings.CutPrefix(strings.ToLower(s), "0x"); ok {
		return strconv.ParseInt(hex, 16, 64)
	}
	return strconv.ParseInt(s, 10, 64)
}

// points reads a number over 0 and up to most.
func points(most float64) reader[float64] {
	want := fmt.Sprintf("a number over 0, at most %g", most)
	return func(d *decoder, n node) (float64, bool) {
		s, ok := d.text(n, want)
		if !ok {
			return 0, false
		}
		v, err := strconv.ParseFloat(s, 64)
		if err != nil || !(v > 0) || v > most {
			d.wrong(n, show(s)+" is no such number", want)
			return 0, false
		}
		return v, true
	}
}
