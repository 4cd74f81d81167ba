package config

import (
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

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

// kind describes a node for a message, with its value if it is a single one.
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

// startOf returns the first token of a value; for a block mapping that is its first
// key.
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

func isList(n ast.Node) bool {
	_, ok := n.(*ast.SequenceNode)
	return ok
}

func isMapping(n ast.Node) bool {
	_, ok := mappingValues(n)
	return ok
}

// single returns the text of a node that is a single value; unlike decoder.text it
// adds no problem if it is not.
func single(n node) (string, bool) {
	if n.ast == nil || isList(n.ast) || isMapping(n.ast) {
		return "", false
	}
	return n.ast.GetToken().Value, true
}

// keyText is a key as the file has it, without quotes.
func keyText(k ast.MapKeyNode) string {
	if m, ok := k.(*ast.MappingKeyNode); ok && m.Value != nil {
		return m.Value.GetToken().Value
	}
	return k.GetToken().Value
}

// keyPath is the path of a key below a path. Keys that do not look like the
// schema's are quoted, so that a path is always one word.
func keyPath(path, key string) string {
	usual := key != "" && strings.Trim(key, "abcdefghijklmnopqrstuvwxyz_0123456789") == ""
	if !usual && (show(key) != key || strings.ContainsAny(key, ".[]:")) {
		key = strconv.Quote(key)
	}
	if path == "" || path == wholeFile {
		return key
	}
	return path + "." + key
}

func indexPath(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }
