package config

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// Set is a set of addresses in nftables that others fill, and that rules name as a
// destination.
type Set struct {
	// Name as in [a-z][a-z0-9-]{0,30}.
	Name string
	// Timeout is for how long an element stays that is added without a timeout of its
	// own, 0 for ever; up to 365 days.
	Timeout time.Duration
	// Size is how many elements it holds in each family, 1 to 1048576.
	Size int
	// Comment is shown by nft(8), at most 128 bytes.
	Comment string
}

const (
	maxSets       = 64
	maxSetSize    = 1 << 20
	maxSetComment = 128
	maxSetTimeout = 365 * day
	wantSets      = "a mapping of names to sets, such as video: {size: 65536}"
)

func newSet() Set { return Set{Size: 65_536} }

var setFields = fields[Set]{
	set("timeout", func(s *Set) *time.Duration { return &s.Timeout }, duration(0, maxSetTimeout)),
	set("size", func(s *Set) *int { return &s.Size }, integer(1, maxSetSize)),
	set("comment", func(s *Set) *string { return &s.Comment }, setComment),
}

func readSets(d *decoder, n node, c *Config) {
	list, ok := d.entries(n, wantSets)
	if d.unsure["sets"] = !ok; len(list) > maxSets {
		d.wrong(n, fmt.Sprintf("has %d sets", len(list)), fmt.Sprintf("at most %d", maxSets))
	}
	for _, e := range list {
		if !namePattern.MatchString(e.key) {
			d.add(e.at, e.path, show(e.key)+" is not a valid name", wantName)
		}
		s := newSet()
		s.Name = e.key
		setFields.read(d, e.node, &s)
		c.Sets = append(c.Sets, s)
	}
}

// setComment reads what nft(8) can write between quotes.
func setComment(d *decoder, n node) (string, bool) {
	const want = "a text of at most 128 bytes without quotes or backslashes"
	if !n.broken && isNothing(n.ast) {
		return "", true
	}
	s, ok := d.text(n, want)
	if ok && (len(s) > maxSetComment || strings.ContainsAny(s, "\"\\")) {
		d.wrong(n, show(s)+" cannot be a comment", want)
		return "", false
	}
	return s, ok
}

// destinations reads where a rule's traffic goes: networks, or a set's name, which
// stands alone.
func destinations(d *decoder, n node, r *Rule) {
	if list, ok := n.ast.(*ast.SequenceNode); ok && slices.ContainsFunc(list.Values, isMapping) {
		d.wrong(n, "has a set in a list", "a set by itself, such as to: {set: video}, and rules of their own for networks and other sets")
		return
	}
	if n.broken || !isMapping(n.ast) {
		if to, ok := anyPrefixes(d, n); ok {
			r.To = to
		}
		return
	}
	type named struct{ name string }
	var to named
	fields[named]{must(set("set", func(v *named) *string { return &v.name }, name), "the name of a set")}.read(d, n, &to)
	r.Set = to.name
}

// checkSet reports a rule whose set does not exist.
func (d *decoder) checkSet(c *Config, path string, r Rule) {
	if r.Set == "" || d.unsure["sets"] || slices.ContainsFunc(c.Sets, func(s Set) bool { return s.Name == r.Set }) {
		return
	}
	var names []string
	for _, s := range c.Sets {
		names = append(names, s.Name)
	}
	right := "one of sets, of which there are none"
	if len(names) > 0 {
		right = orMeant(r.Set, names)
	}
	d.wrongAt(keyPath(keyPath(path, "to"), "set"), "there is no set "+show(r.Set), right)
}
