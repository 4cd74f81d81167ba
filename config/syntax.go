package config

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// maxSyntaxErrors bounds how often a file is parsed again without the section
// that had a syntax error.
const maxSyntaxErrors = 20

// document is the one YAML document of a file.
type document struct {
	body ast.Node
	// damaged are the top-level keys whose sections had a syntax error and are
	// missing from body.
	damaged map[string]bool
}

// parseSyntax parses the text. The library stops at the first syntax error; so
// that the mistakes elsewhere are told too, the top-level section with the error
// is blanked and the rest parsed again.
func parseSyntax(ps *problems, text string) (document, bool) {
	doc := document{damaged: map[string]bool{}}
	lines := strings.SplitAfter(text, "\n")
	for range maxSyntaxErrors {
		tokens := mendColons(lexer.Tokenize(strings.Join(lines, "")))
		if !checkBounds(ps, tokens) {
			return doc, false
		}
		file, err := parseTokens(tokens)
		if err == nil {
			return doc, doc.take(ps, file)
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

// syntaxError is a syntax error of the YAML library.
type syntaxError struct {
	position
	message string
}

// parseTokens runs the library's parser. A panic of it is a syntax error too:
// whatever a file holds, the daemon goes on.
func parseTokens(tokens token.Tokens) (file *ast.File, failed *syntaxError) {
	defer func() {
		if r := recover(); r != nil {
			failed = &syntaxError{position{1, 1}, "the parser gave up on it"}
		}
	}()
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err == nil {
		return file, nil
	}
	if e, ok := errors.AsType[*yaml.SyntaxError](err); ok {
		return nil, &syntaxError{positionOf(e.Token), plainMessage(e.Message)}
	}
	return nil, &syntaxError{position{1, 1}, "the parser refused it"}
}

// plainMessage makes one line of what the library says.
func plainMessage(s string) string {
	if strings.Contains(s, "\t") {
		return "there is a tab where only spaces may be"
	}
	return strings.Join(strings.Fields(s), " ")
}

// sectionStart matches a line that begins a top-level section.
var sectionStart = regexp.MustCompile(`^["']?([A-Za-z_][A-Za-z0-9_-]*)`)

// blankSection empties the lines of the top-level section that a syntax error
// is in, and returns its key and the place to tell. It reports false where there
// is no such section. A list that is not closed is noticed only at the next
// section's first line; then the section before is the one, and its end.
func blankSection(lines []string, at position) (string, position, bool) {
	starts := sectionStarts(lines)
	i := len(starts) - 1
	for i >= 0 && starts[i] >= at.line {
		i--
	}
	if i > 0 && starts[i] == at.line-1 && unclosed(lines[starts[i-1]:starts[i]]) {
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

// unclosed reports whether a section seems to open more brackets than it closes.
func unclosed(section []string) bool {
	text := strings.Join(section, "")
	return strings.Count(text, "[") > strings.Count(text, "]") ||
		strings.Count(text, "{") > strings.Count(text, "}")
}

// syntaxRemedies tell, by a part of the library's message, what would be right.
var syntaxRemedies = []struct{ part, right string }{
	{"tab", "indent with spaces"},
	{"must be specified", "a comma between items, and a closing bracket"},
	{"not found", "a closing bracket"},
	{"flow mapping end", "a closing bracket"},
	{"corresponding to", "an opening bracket before it, or none here"},
	{"quoted text", "a closing quote"},
	{"escape", "text in single quotes, where a backslash is only itself"},
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

// take finds the one document of a file.
func (doc *document) take(ps *problems, file *ast.File) bool {
	found := false
	for _, d := range file.Docs {
		if _, directive := d.Body.(*ast.DirectiveNode); directive || d.Body == nil && d.Start == nil {
			continue
		}
		if found {
			ps.add(documentStart(d), wholeFile, "has a second document", "one document, without a line `---` inside")
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

func documentStart(d *ast.DocumentNode) position {
	if d.Start != nil {
		return positionOf(d.Start)
	}
	return positionOf(d.Body.GetToken())
}
