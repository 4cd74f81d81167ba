package main

import (
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// screenWidth is what every screen for people fits into, in columns.
const screenWidth = 80

// isTerminal reports whether w is a terminal.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// wantsColour reports whether to colour what goes to w: a terminal that can, unless
// the user disabled colours with NO_COLOR (no-color.org).
func wantsColour(w io.Writer) bool {
	return os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && isTerminal(w)
}

// Colours of a terminal (ECMA-48, SGR).
const (
	plain  = ""
	bold   = "1"
	red    = "31"
	green  = "32"
	yellow = "33"
)

// paint colours text, or does not.
type paint bool

func (p paint) as(colour, text string) string {
	if !p || colour == plain {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

// wrap writes prefix and text, broken at spaces into lines that fit the screen.
// All but the first begin with indent spaces. A word longer than a line is cut.
func wrap(prefix, text string, indent int) string {
	room := screenWidth - max(indent, columns(prefix))
	var lines []string
	line, fresh := prefix, true // fresh: no word of text is on the line yet
	for _, word := range words(text, room) {
		if !fresh && columns(line)+1+columns(word) > screenWidth {
			lines = append(lines, line)
			line, fresh = strings.Repeat(" ", indent), true
		}
		if !fresh {
			line += " "
		}
		line, fresh = line+word, false
	}
	return strings.Join(append(lines, strings.TrimRight(line, " ")), "\n")
}

// words splits text at spaces, and what is longer than most columns in pieces.
func words(text string, most int) []string {
	var out []string
	for _, word := range strings.Fields(text) {
		runes := []rune(word)
		for len(runes) > most {
			out = append(out, string(runes[:most]))
			runes = runes[most:]
		}
		out = append(out, string(runes))
	}
	return out
}

// columns is the width of text without colours. What it counts for one column may
// take two in scripts of East Asia.
func columns(text string) int { return utf8.RuneCountInString(text) }
