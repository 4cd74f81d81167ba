package config

import (
	"fmt"

	"github.com/goccy/go-yaml/token"
)

// Bounds of a file's structure. The memory that the library's parser needs grows
// with the product of depth, key length and number of nodes, its time with the
// square of the number of keys in a mapping and of items in a list. So the
// bounds are checked before it runs.
const (
	maxDepth     = 32
	maxKeys      = 1_000
	maxItems     = 10_000
	maxKeyLength = 64
)

// collection is a list or mapping that is open at a token.
type collection struct {
	flow, list bool
	// column of a block collection's entries.
	column int
	// size counts its entries so far.
	size int
}

// bounds follows the tokens of a file and tracks which collections are open.
type bounds struct {
	open []collection
	// exceeded says which bound is exceeded, right what is allowed; empty: none.
	exceeded, right string
}

// checkBounds reports whether the tokens are within the bounds.
func checkBounds(ps *problems, tokens token.Tokens) bool {
	var b bounds
	for i, tk := range tokens {
		b.step(tokens, i)
		if b.exceeded != "" {
			ps.add(positionOf(tk), wholeFile, b.exceeded, b.right)
			return false
		}
	}
	return true
}

func positionOf(tk *token.Token) position {
	if tk == nil || tk.Position == nil {
		return position{1, 1}
	}
	return position{tk.Position.Line, tk.Position.Column}
}

func (b *bounds) step(tokens token.Tokens, i int) {
	tk := tokens[i]
	switch tk.Type {
	case token.MappingStartType, token.SequenceStartType:
		b.push(collection{flow: true, list: tk.Type == token.SequenceStartType})
	case token.MappingEndType, token.SequenceEndType:
		b.closeFlow()
	case token.CollectEntryType:
		b.count()
	case token.SequenceEntryType:
		b.blockEntry(tk.Position.Column, true)
	case token.MappingValueType:
		b.key(tokens, i)
	case token.DocumentHeaderType, token.DocumentEndType:
		b.open = b.open[:0]
	default: // scalars and the like open no collection
	}
}

// key handles the colon after a key.
func (b *bounds) key(tokens token.Tokens, colon int) {
	key := tokens[colon]
	if colon > 0 {
		key = tokens[colon-1]
	}
	if len(key.Value) > maxKeyLength {
		b.exceed(fmt.Sprintf("has a key of %d bytes", len(key.Value)), fmt.Sprintf("at most %d bytes", maxKeyLength))
		return
	}
	b.blockEntry(key.Position.Column, false)
}

// blockEntry handles an entry of a block collection at a column. A list may start
// at the column of the key that it belongs to; a key at that column ends it.
func (b *bounds) blockEntry(column int, list bool) {
	if n := len(b.open); n > 0 && b.open[n-1].flow {
		return
	}
	for n := len(b.open); n > 0; n = len(b.open) {
		top := b.open[n-1]
		if top.flow || top.column < column || top.column == column && (top.list == list || list) {
			break
		}
		b.open = b.open[:n-1]
	}
	if n := len(b.open); n == 0 || b.open[n-1].flow || b.open[n-1].column < column || b.open[n-1].list != list {
		b.push(collection{list: list, column: column})
	}
	b.count()
}

// closeFlow ends the innermost flow collection and all that is open within it.
func (b *bounds) closeFlow() {
	for n := len(b.open); n > 0; n = len(b.open) {
		flow := b.open[n-1].flow
		b.open = b.open[:n-1]
		if flow {
			return
		}
	}
}

func (b *bounds) push(c collection) {
	b.open = append(b.open, c)
	if len(b.open) > maxDepth {
		b.exceed(fmt.Sprintf("is nested more than %d deep", maxDepth), fmt.Sprintf("at most %d deep", maxDepth))
	}
}

// count counts an entry of the innermost collection.
func (b *bounds) count() {
	if len(b.open) == 0 {
		return
	}
	top := &b.open[len(b.open)-1]
	top.size++
	limit, what := maxKeys, "keys in one mapping"
	if top.list {
		limit, what = maxItems, "items in one list"
	}
	if top.size > limit {
		b.exceed(fmt.Sprintf("has more than %d %s", limit, what), fmt.Sprintf("at most %d", limit))
	}
}

func (b *bounds) exceed(wrong, right string) { b.exceeded, b.right = wrong, right }
