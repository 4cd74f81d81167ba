package config

import (
	"slices"

	"github.com/goccy/go-yaml/ast"
)

// maxAliased bounds the nodes that are read through aliases: nested aliases let a
// short file expand without limit.
const maxAliased = 100_000

// scan walks the whole tree once, in the file's order, collects the anchors and
// reports the parts of YAML that this format does not support. open are the
// anchors that enclose the node.
func (d *decoder) scan(n ast.Node, path string, open []string) {
	switch n := n.(type) {
	case *ast.MappingNode:
		for _, e := range n.Values {
			d.scan(e, path, open)
		}
	case *ast.MappingValueNode:
		if _, ok := n.Key.(*ast.MappingKeyNode); ok {
			d.add(positionOf(n.Key.GetToken()), path, "has a key after a question mark", "`key: value`")
		}
		d.scan(n.Key, path, open)
		d.scan(n.Value, keyPath(path, keyText(n.Key)), open)
	case *ast.SequenceNode:
		for i, v := range n.Values {
			d.scan(v, indexPath(path, i), open)
		}
	case *ast.TagNode:
		d.add(positionOf(n.Start), path, "has the tag "+show(n.Start.Value), "the value without a tag")
		d.scan(n.Value, path, open)
	case *ast.AnchorNode:
		name := n.Name.GetToken().Value
		d.scan(n.Value, path, append(open, name))
		d.anchors[name] = n.Value
	case *ast.AliasNode:
		d.bindAlias(n, path, open)
	}
}

// bindAlias binds an alias to the value of the last anchor of its name before it,
// so that an alias never leads into itself, whenever it is resolved.
func (d *decoder) bindAlias(n *ast.AliasNode, path string, open []string) {
	name, at := n.Value.GetToken().Value, positionOf(n.Start)
	target, ok := d.anchors[name]
	switch {
	case slices.Contains(open, name):
		d.add(at, path, "is an alias to itself, "+show("*"+name), "a value")
	case !ok:
		d.add(at, path, "is an alias of an undefined anchor, "+show("*"+name), "a value, or an alias of an anchor defined before it")
	default:
		d.aliases[n] = target
	}
}

// resolve strips anchors and tags, and follows aliases.
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

// spend counts one more value below n that is read through an alias. It reports
// whether maxAliased still allows it.
func (d *decoder) spend(n node) bool {
	d.aliased--
	if d.aliased == 0 {
		d.wrong(n, "expands to too many values through aliases", "the values themselves")
	}
	return d.aliased > 0
}

// merge adds the entries of a mapping's merge keys (<<) that the mapping does not
// have itself.
func (d *decoder) merge(n node, list []entry, values []*ast.MappingValueNode) []entry {
	if !slices.ContainsFunc(values, func(v *ast.MappingValueNode) bool { return v.Key.IsMergeKey() }) {
		return list
	}
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
