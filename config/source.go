package config

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"
)

// maxFileSize is 2 MiB: far more than a thousand rules need, and small enough to be
// parsed on a small router.
const maxFileSize = 2 << 20

// maxEmptyLines bounds runs of empty lines: the YAML library takes time quadratic
// in the length of such a run inside a block scalar.
const maxEmptyLines = 100

// maxMarks bounds brackets and commas, and thereby the number of tokens.
const maxMarks = 400_000

var (
	utf8BOM    = []byte("\xef\xbb\xbf")
	utf16BOMs  = [][]byte{{0xff, 0xfe}, {0xfe, 0xff}}
	binaryFile = "is binary, not text"
	wantText   = "YAML text in UTF-8"
)

// decodeText checks the bytes of a file before they are parsed, and returns the
// text with line feeds as its only line ends.
func decodeText(ps *problems, data []byte) (string, bool) {
	if len(data) > maxFileSize {
		ps.add(position{1, 1}, wholeFile, "is larger than 2 MiB", "at most 2 MiB")
		return "", false
	}
	data = bytes.TrimPrefix(data, utf8BOM)
	for _, bom := range utf16BOMs {
		if bytes.HasPrefix(data, bom) {
			ps.add(position{1, 1}, wholeFile, "is UTF-16, not UTF-8", wantText)
			return "", false
		}
	}
	if at, wrong := firstForeign(data); wrong != "" {
		ps.add(at, wholeFile, wrong, wantText)
		return "", false
	}
	text := strings.ReplaceAll(string(data), "\r\n", "\n")
	if !boundedText(ps, text) {
		return "", false
	}
	return text, true
}

// firstForeign finds the first byte that does not belong in a text file. It returns
// what is wrong with it, empty if there is none.
func firstForeign(data []byte) (position, string) {
	at := position{1, 1}
	for len(data) > 0 {
		r, size := utf8.DecodeRune(data)
		switch {
		case r == utf8.RuneError && size == 1:
			return at, fmt.Sprintf("has the byte 0x%02x, which is not UTF-8", data[0])
		case r == 0:
			return at, binaryFile + " (a NUL byte)"
		case r < ' ' && r != '\n' && r != '\r' && r != '\t', r == 0x7f:
			return at, fmt.Sprintf("%s (the control character 0x%02x)", binaryFile, r)
		case r == '\r' && !bytes.HasPrefix(data, []byte("\r\n")):
			return at, "has a carriage return inside a line"
		}
		at.column++
		if r == '\n' {
			at = position{at.line + 1, 1}
		}
		data = data[size:]
	}
	return at, ""
}

// boundedText rejects text for which the YAML library's scanner would need excessive
// time or memory.
func boundedText(ps *problems, text string) bool {
	empty, marks, line := 0, 0, 0
	for s := range strings.Lines(text) {
		line++
		empty++
		if strings.TrimSpace(s) != "" {
			empty = 0
		}
		for _, c := range []byte(s) {
			if strings.IndexByte(",[]{}", c) >= 0 {
				marks++
			}
		}
		switch at := (position{line, 1}); {
		case empty > maxEmptyLines:
			ps.add(at, wholeFile, fmt.Sprintf("has more than %d empty lines in a row", maxEmptyLines), "fewer")
			return false
		case marks > maxMarks:
			ps.add(at, wholeFile, fmt.Sprintf("has more than %d brackets and commas", maxMarks), "fewer")
			return false
		}
	}
	return true
}
