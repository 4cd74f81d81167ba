package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// node is one value of the file, with its path and position.
type node struct {
	ast  ast.Node
	path string
	at   position
	// aliased: the value is reached through an alias.
	aliased bool
	// broken: the value has been reported as a problem already.
	broken bool
}

// entry is one key of a mapping, with its value.
type entry struct {
	key string
	at  position
	node
}

// decoder walks a syntax tree.
type decoder struct {
	*problems
	doc document
	// anchors are the anchored values that scan has passed; aliases the values that
	// aliases stand for. An alias that is missing has been reported as a problem.
	anchors map[string]ast.Node
	aliases map[*ast.AliasNode]ast.Node
	// aliased counts down from maxAliased.
	aliased int
	// unsure are the top-level keys whose values could not be read completely, so
	// that nothing can be concluded from what is missing there.
	unsure map[string]bool
	// badRules are the indices of rules that have been reported as a problem.
	badRules map[int]bool
}

func newDecoder(ps *problems, doc document) *decoder {
	d := &decoder{
		problems: ps, doc: doc, aliased: maxAliased,
		anchors: map[string]ast.Node{}, aliases: map[*ast.AliasNode]ast.Node{},
		unsure: map[string]bool{}, badRules: map[int]bool{},
	}
	for key := range doc.damaged {
		d.unsure[key] = true
	}
	if doc.unusual {
		d.scan(doc.body, wholeFile, nil)
	}
	return d
}

// root returns the node of the whole file.
func (d *decoder) root() node {
	return d.resolve(node{ast: d.doc.body, path: wholeFile, at: positionOf(startOf(d.doc.body))})
}

// wrong reports a problem with a node.
func (d *decoder) wrong(n node, wrong, right string) { d.add(n.at, n.path, wrong, right) }

// wrongAt reports a problem with the value at a path. Its position is that of the
// nearest enclosing path if the file does not have the path itself.
func (d *decoder) wrongAt(path, wrong, right string) {
	d.add(d.place(path), path, wrong, right)
}

func (d *decoder) place(path string) position {
	n, _ := d.find(path)
	return n.at
}

// given reports whether the file has a value at the path.
func (d *decoder) given(path string) bool {
	_, ok := d.find(path)
	return ok
}

// find walks down to the value at a path, as the rules need it that are checked once the
// whole file is read. It returns the nearest enclosing value, and false, if the file does
// not have the path.
func (d *decoder) find(path string) (node, bool) {
	if d.doc.damaged[path] {
		return node{path: path, at: position{1, 1}}, true
	}
	// Whatever is wrong on the way has been reported when it was read.
	walker := &decoder{problems: &problems{}, doc: d.doc, aliases: d.aliases, aliased: maxAliased}
	n := d.root()
	for n.path != path {
		below, ok := walker.towards(n, path)
		if !ok {
			return n, false
		}
		n = below
	}
	return n, true
}

// towards returns the value below n whose path is path, or encloses it.
func (d *decoder) towards(n node, path string) (node, bool) {
	if seq, ok := n.ast.(*ast.SequenceNode); ok {
		index, _, _ := strings.Cut(strings.TrimPrefix(path, n.path+"["), "]")
		i, err := strconv.Atoi(index)
		if err != nil || i < 0 || i >= len(seq.Values) {
			return node{}, false
		}
		return d.item(n, seq, i), true
	}
	if !isMapping(n.ast) {
		return node{}, false
	}
	list, _ := d.entries(n, "")
	for _, e := range list {
		if rest, ok := strings.CutPrefix(path, e.path); ok && (rest == "" || rest[0] == '.' || rest[0] == '[') {
			return e.node, true
		}
	}
	return node{}, false
}

// child returns the node of a value below n.
func (d *decoder) child(n node, value ast.Node, path string, at position) node {
	c := d.resolve(node{ast: value, path: path, at: at, aliased: n.aliased})
	if c.aliased && !d.spend(n) {
		c.broken = true
	}
	return c
}

// entries returns the keys of a mapping in the file's order, merged ones last. It
// returns false if n is not a mapping; an empty value is an empty mapping.
func (d *decoder) entries(n node, want string) ([]entry, bool) {
	if n.broken || isNothing(n.ast) {
		return nil, !n.broken
	}
	values, ok := mappingValues(n.ast)
	if !ok {
		d.wrong(n, "is "+kind(n.ast), want)
		return nil, false
	}
	list := make([]entry, 0, len(values))
	for _, v := range values {
		if v.Key.IsMergeKey() {
			continue
		}
		key, at := keyText(v.Key), positionOf(v.Key.GetToken())
		path := keyPath(n.path, key)
		if i := slices.IndexFunc(list, func(e entry) bool { return e.key == key }); i >= 0 {
			d.add(at, path, fmt.Sprintf("is given again after line %d", list[i].at.line), "one of the two")
			continue
		}
		list = append(list, entry{key, at, d.child(n, v.Value, path, at)})
	}
	return d.merge(n, list, values), true
}

// items returns the items of a list, and false if n is not a list.
func (d *decoder) items(n node, want string) ([]node, bool) {
	seq, ok := n.ast.(*ast.SequenceNode)
	if n.broken {
		return nil, false
	}
	if !ok {
		d.wrong(n, "is "+kind(n.ast), want)
		return nil, false
	}
	list := make([]node, 0, len(seq.Values))
	for i := range seq.Values {
		list = append(list, d.item(n, seq, i))
	}
	return list, true
}

// item returns an item of the list n.
func (d *decoder) item(n node, seq *ast.SequenceNode, i int) node {
	at := positionOf(startOf(seq.Values[i]))
	if i < len(seq.Entries) && seq.Entries[i] != nil && seq.Entries[i].Start != nil &&
		seq.Entries[i].Start.Type == token.SequenceEntryType {
		at = positionOf(seq.Entries[i].Start)
	}
	return d.child(n, seq.Values[i], indexPath(n.path, i), at)
}

// text returns a single value as the file has it, without quotes. What YAML types
// as a number, a boolean or an infinity remains text here: the schema of its key
// determines what it means.
func (d *decoder) text(n node, want string) (string, bool) {
	if n.broken {
		return "", false
	}
	switch v := n.ast.(type) {
	case nil, *ast.NullNode:
		d.wrong(n, "is empty", want)
		return "", false
	case *ast.LiteralNode:
		return d.printable(n, strings.TrimRight(v.Value.Value, "\n"), want)
	case *ast.StringNode:
		return d.printable(n, v.Value, want)
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return v.GetToken().Value, true
	}
	d.wrong(n, "is "+kind(n.ast), want)
	return "", false
}

// printable returns a text unless it has control characters, which YAML allows as
// escapes in quotes and which no value has use for.
func (d *decoder) printable(n node, s, want string) (string, bool) {
	if i := strings.IndexFunc(s, unicode.IsControl); i >= 0 {
		r, _ := utf8.DecodeRuneInString(s[i:])
		d.wrong(n, fmt.Sprintf("%s contains the control character %U", show(s), r), want)
		return "", false
	}
	return s, true
}
