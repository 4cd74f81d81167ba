package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// maxAliased bounds the nodes that are read through aliases, which can make a
// short file mean an endless one.
const maxAliased = 100_000

// node is one value of the file and where it stands.
type node struct {
	ast  ast.Node
	path string
	at   position
	// aliased: the value is reached through an alias.
	aliased bool
	// broken: there was a value, and a problem with it is told already.
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
	// anchors are the anchored values that the survey has passed; aliases what
	// each alias stands for. One that is missing has had its problem told.
	anchors map[string]ast.Node
	aliases map[*ast.AliasNode]ast.Node
	// places remembers where each path stands, for the rules that are checked
	// when all is read.
	places map[string]position
	// aliased counts down from maxAliased.
	aliased int
	// unsure are the top-level keys whose values could not be read whole, so
	// that nothing follows from what is missing there.
	unsure map[string]bool
	// badRules are the indices of rules that have a problem already.
	badRules map[int]bool
}

func newDecoder(ps *problems, doc document) *decoder {
	d := &decoder{
		problems: ps, doc: doc, aliased: maxAliased,
		anchors: map[string]ast.Node{}, aliases: map[*ast.AliasNode]ast.Node{}, places: map[string]position{},
		unsure: map[string]bool{}, badRules: map[int]bool{},
	}
	for key := range doc.damaged {
		d.unsure[key], d.places[key] = true, position{1, 1}
	}
	d.survey(doc.body, wholeFile, nil)
	return d
}

// wrong reports a problem with a node.
func (d *decoder) wrong(n node, wrong, right string) { d.add(n.at, n.path, wrong, right) }

// wrongAt reports a problem with what stands at a path, or, where the file has
// no such path, at the nearest one above it.
func (d *decoder) wrongAt(path, wrong, right string) {
	d.add(d.place(path), path, wrong, right)
}

func (d *decoder) place(path string) position {
	for p := path; p != ""; {
		if at, ok := d.places[p]; ok {
			return at
		}
		p = p[:max(strings.LastIndexAny(p, ".["), 0)]
	}
	return positionOf(d.doc.body.GetToken())
}

// given reports whether the file has a value at the path.
func (d *decoder) given(path string) bool {
	_, ok := d.places[path]
	return ok
}

// survey goes once through the whole tree in the file's order, learns the
// anchors, and reports what this format has no use for. open are the anchors
// around the node.
func (d *decoder) survey(n ast.Node, path string, open []string) {
	switch n := n.(type) {
	case *ast.MappingNode:
		for _, e := range n.Values {
			d.survey(e, path, open)
		}
	case *ast.MappingValueNode:
		if _, ok := n.Key.(*ast.MappingKeyNode); ok {
			d.add(positionOf(n.Key.GetToken()), path, "has a key after a question mark", "`key: value`")
		}
		d.survey(n.Key, path, open)
		d.survey(n.Value, keyPath(path, keyText(n.Key)), open)
	case *ast.SequenceNode:
		for i, v := range n.Values {
			d.survey(v, indexPath(path, i), open)
		}
	case *ast.TagNode:
		d.add(positionOf(n.Start), path, "has the tag "+show(n.Start.Value), "the value without a tag")
		d.survey(n.Value, path, open)
	case *ast.AnchorNode:
		name := n.Name.GetToken().Value
		d.survey(n.Value, path, append(open, name))
		d.anchors[name] = n.Value
	case *ast.AliasNode:
		d.surveyAlias(n, path, open)
	}
}

// surveyAlias binds an alias to the value before it that has its anchor. So an
// alias never leads into itself, however it is read later.
func (d *decoder) surveyAlias(n *ast.AliasNode, path string, open []string) {
	name, at := n.Value.GetToken().Value, positionOf(n.Start)
	target, ok := d.anchors[name]
	switch {
	case slices.Contains(open, name):
		d.add(at, path, "is an alias to itself, "+show("*"+name), "a value")
	case !ok:
		d.add(at, path, "is an alias to nothing, "+show("*"+name), "a value, or an alias of an anchor before it")
	default:
		d.aliases[n] = target
	}
}

// resolve strips anchors and tags and follows aliases.
func (d *decoder) resolve(n node) node {
	for {
		switch v := n.ast.(type) {
		case *ast.AnchorNode:
			n.ast = v.Value
		case *ast.TagNode:
			n.ast = v.Value
		case *ast.AliasNode:
			target, ok := d.aliases[v]
			n.ast, n.aliased, n.broken = target, true, !ok
		default:
			return n
		}
	}
}

// child makes the node of a value below n.
func (d *decoder) child(n node, value ast.Node, path string, at position) node {
	c := d.resolve(node{ast: value, path: path, at: at, aliased: n.aliased})
	d.places[path] = at
	if c.aliased && !d.spend(n) {
		c.broken = true
	}
	return c
}

// spend counts one more value below n that is read through an alias, and reports
// whether that is within bounds.
func (d *decoder) spend(n node) bool {
	d.aliased--
	if d.aliased == 0 {
		d.wrong(n, "grows beyond all measure through aliases", "the values themselves")
	}
	return d.aliased > 0
}

// entries lists the keys of a mapping in the file's order, merged ones last,
// and reports false where n is no mapping. Nothing is an empty mapping.
func (d *decoder) entries(n node, want string) ([]entry, bool) {
	if n.broken || isNothing(n.ast) {
		return nil, !n.broken
	}
	values, ok := mappingValues(n.ast)
	if !ok {
		d.wrong(n, "is "+kind(n.ast), want)
		return nil, false
	}
	var list []entry
	first := map[string]position{}
	for _, v := range values {
		if v.Key.IsMergeKey() {
			continue
		}
		key, at := keyText(v.Key), positionOf(v.Key.GetToken())
		path := keyPath(n.path, key)
		if before, ok := first[key]; ok {
			d.add(at, path, fmt.Sprintf("is given again after line %d", before.line), "one of the two")
			continue
		}
		first[key] = at
		list = append(list, entry{key, at, d.child(n, v.Value, path, at)})
	}
	return d.merge(n, list, values), true
}

// merge adds what the merge keys (<<) of a mapping bring that it has not itself.
func (d *decoder) merge(n node, list []entry, values []*ast.MappingValueNode) []entry {
	has := map[string]bool{}
	for _, e := range list {
		has[e.key] = true
	}
	for _, v := range values {
		if !v.Key.IsMergeKey() {
			continue
		}
		at := positionOf(v.Key.GetToken())
		source := d.resolve(node{ast: v.Value, path: keyPath(n.path, "<<"), at: at, aliased: n.aliased})
		if source.broken || !d.spend(source) {
			continue
		}
		if !source.aliased {
			d.wrong(source, "merges "+kind(source.ast), "an alias of a mapping, such as <<: *common")
			continue
		}
		merged, _ := d.entries(node{ast: source.ast, path: n.path, at: at, aliased: true}, "an alias of a mapping")
		for _, e := range merged {
			if !has[e.key] {
				has[e.key] = true
				list = append(list, e)
			}
		}
	}
	return list
}

// items lists the items of a list and reports false where n is none.
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
	for i, v := range seq.Values {
		at := positionOf(startOf(v))
		if i < len(seq.Entries) && seq.Entries[i] != nil && seq.Entries[i].Start != nil &&
			seq.Entries[i].Start.Type == token.SequenceEntryType {
			at = positionOf(seq.Entries[i].Start)
		}
		list = append(list, d.child(n, v, indexPath(n.path, i), at))
	}
	return list, true
}

// text returns a single value as the file writes it, without quotes. What YAML
// takes for a number, a boolean or an infinity is its text here: the key that
// it belongs to decides what it means.
func (d *decoder) text(n node, want string) (string, bool) {
	if n.broken {
		return "", false
	}
	switch v := n.ast.(type) {
	case nil, *ast.NullNode:
		d.wrong(n, "is empty", want)
		return "", false
	case *ast.LiteralNode:
		return strings.TrimRight(v.Value.Value, "\n"), true
	case *ast.StringNode:
		return v.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return v.GetToken().Value, true
	}
	d.wrong(n, "is "+kind(n.ast), want)
	return "", false
}

func mappingValues(n ast.Node) ([]*ast.MappingValueNode, bool) {
	switch n := n.(type) {
	case *ast.MappingNode:
		return n.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}, true
	}
	return nil, false
}

func isNothing(n ast.Node) bool {
	_, null := n.(*ast.NullNode)
	return n == nil || null
}

// kind names what a node is, with its value where it is a single one.
func kind(n ast.Node) string {
	switch n := n.(type) {
	case nil, *ast.NullNode:
		return "empty"
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a mapping"
	case *ast.SequenceNode:
		return "a list"
	default:
		return "the single value " + show(n.GetToken().Value)
	}
}

// startOf returns the first token of a value: of a block mapping its first key.
func startOf(n ast.Node) *token.Token {
	switch v := n.(type) {
	case *ast.MappingNode:
		if !v.IsFlowStyle && len(v.Values) > 0 {
			return startOf(v.Values[0].Key)
		}
	case *ast.MappingValueNode:
		return startOf(v.Key)
	}
	return n.GetToken()
}

// keyText is a key as the file writes it, without quotes.
func keyText(k ast.MapKeyNode) string {
	if m, ok := k.(*ast.MappingKeyNode); ok && m.Value != nil {
		return m.Value.GetToken().Value
	}
	return k.GetToken().Value
}

// keyPath is the path of a key below a path. Keys of any other form than that
// of the schema's are quoted, so that a path is always one word.
func keyPath(path, key string) string {
	if show(key) != key || strings.ContainsAny(key, ".[]:") {
		key = strconv.Quote(key)
	}
	if path == "" || path == wholeFile {
		return key
	}
	return path + "." + key
}

func indexPath(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }

func isList(n ast.Node) bool {
	_, ok := n.(*ast.SequenceNode)
	return ok
}

func isMapping(n ast.Node) bool {
	_, ok := mappingValues(n)
	return ok
}

// single returns the text of a node that is a single value, without reporting
// when it is none.
func single(n node) (string, bool) {
	if n.ast == nil || isList(n.ast) || isMapping(n.ast) {
		return "", false
	}
	return n.ast.GetToken().Value, true
}
