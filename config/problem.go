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

// maxProblems bounds how many problems of one file are told. What is over is
// counted in a last one.
const maxProblems = 10_000

// maxShown bounds how many bytes of a value from the file a problem repeats.
const maxShown = 60

// Problem is one thing that is wrong with a file.
type Problem struct {
	// File as the caller named it.
	File string
	// Line is the number, from 1, of the line to look at.
	Line int
	// Path leads to the value, such as "uplinks[1].probe.interval", or is
	// "file" for what concerns the whole file.
	Path string
	// Wrong says what is wrong, with the value; Right what would be right.
	Wrong, Right string

	column int
}

// String returns the problem as `FILE:LINE: path: what is wrong; what would be right`.
func (p Problem) String() string {
	return fmt.Sprintf("%s:%d: %s: %s; %s", p.File, p.Line, p.Path, p.Wrong, p.Right)
}

// Error makes a Problem usable as an error; it is the same as String.
func (p Problem) Error() string { return p.String() }

// position is a place in the file, both from 1.
type position struct{ line, column int }

// problems collects what is wrong with one file.
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

// count is how many problems there are, those that were dropped too.
func (ps *problems) count() int { return len(ps.list) + ps.dropped }

// sorted returns the problems in the file's order, each once.
func (ps *problems) sorted() []Problem {
	slices.SortStableFunc(ps.list, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.column, b.column))
	})
	list := slices.Compact(ps.list)
	if ps.dropped > 0 {
		last := list[len(list)-1]
		list = append(list, Problem{
			File: ps.file, Line: last.Line, Path: wholeFile,
			Wrong: fmt.Sprintf("has %d problems more than these", ps.dropped),
			Right: "mend these first",
		})
	}
	return list
}

// wholeFile is the path of problems that concern no single value.
const wholeFile = "file"

// show returns a value of the file as a problem repeats it: bare where it is a
// single plain word, else quoted, and never longer than maxShown.
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
