package config

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxProblems bounds how many problems of one file are listed. A last one counts
// the rest.
const maxProblems = 10_000

// maxShown bounds how many bytes of a value a problem quotes.
const maxShown = 60

// Problem is one thing that is wrong with a file.
type Problem struct {
	// File as the caller named it.
	File string
	// Line is the number of the line, from 1.
	Line int
	// Path is that of the value, such as "uplinks[1].probe.interval", or "file"
	// where the problem concerns the whole file.
	Path string
	// Wrong says what is wrong, with the value; Right what would be right.
	Wrong, Right string

	column int
}

// String returns the problem as `FILE:LINE: path: what is wrong; what would be right`.
func (p Problem) String() string {
	return fmt.Sprintf("%s:%d: %s: %s; %s", p.File, p.Line, p.Path, p.Wrong, p.Right)
}

// Error returns the same as String.
func (p Problem) Error() string { return p.String() }

// position is a place in the file; line and column count from 1.
type position struct{ line, column int }

// problems collects the problems of one file.
type problems struct {
	file    string
	list    []Problem
	dropped int
}

func (ps *problems) add(at position, path, wrong, right string) {
	if len(ps.list) >= maxProblems {
		ps.dropped++
		return
	}
	ps.list = append(ps.list, Problem{
		File: ps.file, Line: max(at.line, 1), Path: path, Wrong: wrong, Right: right, column: at.column,
	})
}

// count returns the number of problems, including those that were dropped.
func (ps *problems) count() int { return len(ps.list) + ps.dropped }

// sorted returns the problems in the file's order, without repetitions.
func (ps *problems) sorted() []Problem {
	slices.SortStableFunc(ps.list, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.column, b.column))
	})
	list := slices.Compact(ps.list)
	if ps.dropped > 0 {
		last := list[len(list)-1]
		list = append(list, Problem{
			File: ps.file, Line: last.Line, Path: wholeFile,
			Wrong: fmt.Sprintf("has %d more problems", ps.dropped),
			Right: "fix these first",
		})
	}
	return list
}

// wholeFile is the path of problems that concern the whole file.
const wholeFile = "file"

// show returns a value of the file as a problem quotes it: bare if it is a single
// plain word, else in quotes, and truncated to maxShown bytes.
func show(s string) string {
	if len(s) > maxShown {
		cut := maxShown
		for cut > 0 && !utf8.RuneStart(s[cut]) {
			cut--
		}
		return strconv.Quote(s[:cut]) + "…"
	}
	plain := func(r rune) bool {
		return r < unicode.MaxASCII && unicode.IsPrint(r) && !strings.ContainsRune(` ;,"'`, r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return strconv.Quote(s)
}

// or joins words as "a, b or c".
func or(words []string) string { return join(words, " or ") }

// and joins words as "a, b and c".
func and(words []string) string { return join(words, " and ") }

func join(words []string, last string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	n := len(words) - 1
	return strings.Join(words[:n], ", ") + last + words[n]
}
