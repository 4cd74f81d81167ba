package config

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// maxSyntaxErrors bounds how often a file is parsed, each time without the sections
// that had a syntax error.
const maxSyntaxErrors = 20

// document is the YAML document of a file.
type document struct {
	body ast.Node
	// damaged are the top-level keys whose sections had a syntax error and are
	// missing from body.
	damaged map[string]bool
	// unusual: the text has anchors, aliases, tags or keys after question marks.
	unusual bool
}

// parseSyntax parses the text. The library stops at the first syntax error. So that
// mistakes elsewhere are reported too, the top-level section with the error is
// blanked and the rest parsed again.
func parseSyntax(ps *problems, text string) (document, bool) {
	doc := document{damaged: map[string]bool{}}
	lines := strings.SplitAfter(text, "\n")
	for range maxSyntaxErrors {
		tokens := joinColons(lexer.Tokenize(strings.Join(lines, "")))
		if !checkBounds(ps, tokens) {
			return doc, false
		}
		doc.unusual = slices.ContainsFunc(tokens, isUnusual)
		file, err := parseTokens(tokens)
		if err == nil {
			return doc, doc.setBody(ps, file)
		}
		section, at, ok := blankSection(lines, err.position)
		ps.add(at, section, "is not YAML: "+err.message, syntaxRemedy(err.message))
		if !ok {
			return doc, false
		}
		doc.damaged[section] = true
	}
	return doc, false
}

func isUnusual(tk *token.Token) bool {
	switch tk.Type {
	case token.AnchorType, token.AliasType, token.TagType, token.MappingKeyType:
		return true
	}
	return false
}

// syntaxError is a syntax error of the YAML library.
type syntaxError struct {
	position
	message string
}

// parseTokens runs the library's parser. A panic in it counts as a syntax error: no
// file may end the daemon.
func parseTokens(tokens token.Tokens) (file *ast.File, failed *syntaxError) {
	defer func() {
		if r := recover(); r != nil {
			failed = &syntaxError{position{1, 1}, "the parser failed"}
		}
	}()
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err == nil {
		return file, nil
	}
	if e, ok := errors.AsType[*yaml.SyntaxError](err); ok {
		return nil, &syntaxError{positionOf(e.Token), plainMessage(e.Message)}
	}
	return nil, &syntaxError{position{1, 1}, "the parser rejected it"}
}

// plainMessage returns a message of the library as one line.
func plainMessage(s string) string {
	if strings.Contains(s, "\t") {
		return "there is a tab where only spaces are allowed"
	}
	return strings.Join(strings.Fields(s), " ")
}

// sectionStart matches a line that begins a top-level section.
var sectionStart = regexp.MustCompile(`^["']?([A-Za-z_][A-Za-z0-9_-]*)`)

// blankSection empties the lines of the top-level section that a syntax error is
// in, and returns its key and the position to report. It returns false if there
// is no such section. The parser detects an unclosed list only at the first line
// of the next section; the error is then reported at the end of the section
// before it.
func blankSection(lines []string, at position) (string, position, bool) {
	starts := sectionStarts(lines)
	i := len(starts) - 1
	for i >= 0 && starts[i] >= at.line {
		i--
	}
	if i > 0 && starts[i] == at.line-1 && isUnclosed(lines[starts[i-1]:starts[i]]) {
		at = position{lastContent(lines[:starts[i]]), 1}
		i--
	}
	if i < 0 {
		return wholeFile, at, false
	}
	key := sectionStart.FindStringSubmatch(lines[starts[i]])[1]
	end := len(lines)
	if i+1 < len(starts) {
		end = starts[i+1]
	}
	for n := starts[i]; n < end; n++ {
		lines[n] = lines[n][len(strings.TrimRight(lines[n], "\n")):]
	}
	return key, at, true
}

// lastContent is the number of the last line that is neither empty nor a comment.
func lastContent(lines []string) int {
	for n := len(lines); n > 1; n-- {
		if s := strings.TrimSpace(lines[n-1]); s != "" && s[0] != '#' {
			return n
		}
	}
	return 1
}

func sectionStarts(lines []string) []int {
	var starts []int
	for i, s := range lines {
		if sectionStart.MatchString(s) {
			starts = append(starts, i)
		}
	}
	return starts
}

// isUnclosed reports whether a section seems to open more brackets than it closes.
func isUnclosed(section []string) bool {
	text := strings.Join(section, "")
	return strings.Count(text, "[") > strings.Count(text, "]") ||
		strings.Count(text, "{") > strings.Count(text, "}")
}

// syntaxRemedies are what would be right, by a part of the library's message.
var syntaxRemedies = []struct{ part, right string }{
	{"tab", "indent with spaces"},
	{"must be specified", "a comma between items, and a closing bracket"},
	{"not found", "a closing bracket"},
	{"flow mapping end", "a closing bracket"},
	{"corresponding to", "an opening bracket before it, or none here"},
	{"quoted text", "a closing quote"},
	{"escape", "text in single quotes, in which a backslash has no special meaning"},
	{"reserved character", "the value in quotes"},
	{"mapping value is not allowed", "one `key: value` on a line, values with a colon and a space in quotes"},
	{"key name", "`key: value`, with a space after the colon"},
}

func syntaxRemedy(message string) string {
	for _, r := range syntaxRemedies {
		if strings.Contains(message, r.part) {
			return r.right
		}
	}
	return "`key: value` lines, each level indented by spaces"
}

// setBody sets body to the only document of a file. It reports whether there is
// one; a second one is a problem.
func (doc *document) setBody(ps *problems, file *ast.File) bool {
	found := false
	for _, d := range file.Docs {
		if _, directive := d.Body.(*ast.DirectiveNode); directive || d.Body == nil && d.Start == nil {
			continue
		}
		if found {
			start := d.Start
			if start == nil {
				start = d.Body.GetToken()
			}
			ps.add(positionOf(start), wholeFile, "has a second document", "one document, without a line `---` in it")
			return doc.body != nil
		}
		found = true
		doc.body = d.Body
	}
	if doc.body == nil && len(doc.damaged) == 0 {
		ps.add(position{1, 1}, wholeFile, "is empty", fmt.Sprintf("at least `uplinks: %s`", autoWord))
	}
	return doc.body != nil
}
