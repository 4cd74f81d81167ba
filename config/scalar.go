package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"swerve/failover"
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

// duration reads a time from least to most, both included.
func duration(least, most time.Duration) reader[time.Duration] {
	return func(d *decoder, n node) (time.Duration, bool) {
		s, ok := d.text(n, "a time such as 500ms, 30s or 1h30m")
		if !ok {
			return 0, false
		}
		v, wrong, right := parseDuration(s, least, most)
		if wrong != "" {
			d.wrong(n, wrong, right)
		}
		return v, wrong == ""
	}
}

// parseDuration reads a time within bounds, or says what is wrong with it.
func parseDuration(s string, least, most time.Duration) (v time.Duration, wrong, right string) {
	v, ok := durationOf(s)
	if _, err := strconv.ParseFloat(s, 64); err == nil && !ok {
		return 0, show(s) + " has no unit", "a time such as " + s + "s or " + s + "ms"
	}
	switch {
	case !ok:
		return 0, show(s) + " is no time", "a time such as 500ms, 30s, 1h30m or 2d"
	case v < least:
		return 0, show(s) + " is under the least", "at least " + FormatDuration(least)
	case v > most:
		return 0, show(s) + " is over the most", "at most " + FormatDuration(most)
	}
	return v, "", ""
}

// durationOf reads Go's notation of a time, with days (d) before it.
func durationOf(s string) (time.Duration, bool) {
	days, rest, ok := strings.Cut(s, "d")
	if !ok {
		v, err := time.ParseDuration(s)
		return v, err == nil
	}
	n, err := strconv.ParseUint(days, 10, 16)
	if err != nil {
		return 0, false
	}
	v := time.Duration(0)
	if rest != "" {
		v, err = time.ParseDuration(rest)
	}
	const maxDays = 10_000
	if err != nil || v < 0 || v > day || n > maxDays {
		return 0, false
	}
	return time.Duration(n)*day + v, true
}

const day = 24 * time.Hour

// FormatDuration writes a time as a configuration file does: "500ms", "1h30m",
// without the zero parts of time.Duration's own form.
func FormatDuration(v time.Duration) string {
	s := v.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

// A measure reads one side of a limit. right says what it takes.
type measure struct {
	read  func(s string) (float64, bool)
	right string
	show  func(v float64) string
}

// ratios measures loss: "20%" or 0.2, over 0 and up to 100%.
var ratios = measure{
	read: func(s string) (float64, bool) {
		percent, ok := strings.CutSuffix(s, "%")
		v, err := strconv.ParseFloat(strings.TrimSpace(percent), 64)
		if ok {
			return v / 100, err == nil && v > 0 && v <= 100
		}
		return v, err == nil && v > 0 && v < 1
	},
	right: "a share such as 20% or 0.2, over 0% and at most 100%, or never",
	show:  func(v float64) string { return strconv.FormatFloat(math.Round(v*1e6)/1e4, 'g', -1, 64) + "%" },
}

// times measures latency and jitter, in seconds: over 0, up to a minute.
var times = measure{
	read: func(s string) (float64, bool) {
		v, ok := durationOf(s)
		return v.Seconds(), ok && v > 0 && v <= time.Minute
	},
	right: "a time such as 300ms, over 0 and at most 1m, or never",
	show: func(v float64) string {
		return FormatDuration(time.Duration(math.Round(v * float64(time.Second))))
	},
}

// threshold is one side of a limit: a measure, or never.
type threshold struct {
	never bool
	value float64
}

func (m measure) threshold(d *decoder, n node) (threshold, bool) {
	s, ok := d.text(n, m.right)
	if !ok {
		return threshold{}, false
	}
	if isNone(s) {
		return threshold{never: true}, true
	}
	v, ok := m.read(s)
	if !ok {
		d.wrong(n, show(s)+" is no such limit", m.right)
	}
	return threshold{value: v}, ok
}

// limitSides is a limit as the file writes it.
type limitSides struct{ degraded, clear *threshold }

// limit makes a field for a limit. Where only degraded is given and it is not
// over the clear that was there, clear follows it at clearShare, so that there
// is always some way between the two.
func limit(key string, m measure, place func(*Health) *failover.Limit) field[Health] {
	side := func(key string, place func(*limitSides) **threshold) field[limitSides] {
		return set(key, place, func(d *decoder, n node) (*threshold, bool) {
			t, ok := m.threshold(d, n)
			return &t, ok
		})
	}
	below := fields[limitSides]{
		side("degraded", func(l *limitSides) **threshold { return &l.degraded }),
		side("clear", func(l *limitSides) **threshold { return &l.clear }),
	}
	return field[Health]{key: key, keys: below.keys(), read: func(d *decoder, n node, into *Health) {
		var sides limitSides
		before := d.count()
		below.read(d, n, &sides)
		if d.count() == before {
			m.apply(d, n, sides, place(into))
		}
	}}
}

// clearShare of degraded is the limit to clear where none is given.
const clearShare = 0.6

// apply puts the given sides over a limit and checks that they agree.
func (m measure) apply(d *decoder, n node, given limitSides, l *failover.Limit) {
	result := *l
	if t := given.degraded; t != nil {
		result.Never, result.Degraded = t.never, t.value
	}
	if t := given.clear; t != nil {
		result.Clear = t.value
	}
	neverClear := given.clear != nil && given.clear.never
	switch {
	case result.Never:
		result = failover.Limit{Never: true}
	case neverClear:
		d.wrongAt(keyPath(n.path, "clear"), "never, though it can be degraded", "at most degraded, "+m.show(result.Degraded))
		return
	case given.clear == nil && result.Clear == 0 || given.clear == nil && result.Clear >= result.Degraded:
		result.Clear = result.Degraded * clearShare
	case result.Clear > result.Degraded:
		d.wrongAt(keyPath(n.path, "clear"), m.show(result.Clear)+" is over degraded",
			"at most "+m.show(result.Degraded))
		return
	}
	*l = result
}
