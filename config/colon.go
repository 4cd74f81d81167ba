package config

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/token"
)

// joinColons rejoins tokens that the YAML library's scanner splits wrongly. Within
// a flow mapping it ends a key at any colon, so that it reads
//
//	{to: [2001:db8::/32, tcp://192.0.2.1:443]}
//
// as having the keys 2001 and tcp://192.0.2.1. In YAML 1.2 (7.3.3) a colon ends a plain key
// only where a space, a bracket or a comma follows it; only after a quoted key it
// needs none of them.
func joinColons(tokens token.Tokens) token.Tokens {
	joined := make(token.Tokens, 0, len(tokens))
	flows := 0
	for _, tk := range tokens {
		switch tk.Type {
		case token.MappingStartType, token.SequenceStartType:
			flows++
		case token.MappingEndType, token.SequenceEndType:
			flows--
		}
		if flows > 0 && isPlain(tk) {
			joined, tk = joinLeft(joined, tk)
			joined.Add(splitKey(tk)...)
			continue
		}
		joined.Add(tk)
	}
	return joined
}

// joinLeft joins a plain text with the colon directly before it and with the plain
// text directly before that, if the tokens end with these. It returns the
// tokens without them, and the joined text.
func joinLeft(tokens token.Tokens, tk *token.Token) (token.Tokens, *token.Token) {
	n := len(tokens)
	if n == 0 || tokens[n-1].Type != token.MappingValueType || !touch(tokens[n-1], tk) {
		return tokens, tk
	}
	colon := tokens[n-1]
	if n > 1 && endsQuotedKey(tokens[n-2]) {
		return tokens, tk
	}
	if n > 1 && isPlain(tokens[n-2]) && touch(tokens[n-2], colon) {
		return tokens[:n-2], glue(tokens[n-2], glue(colon, tk))
	}
	return tokens[:n-1], glue(colon, tk)
}

// splitKey splits a plain text at a colon that a space follows, which the scanner has
// left in a key with earlier colons, such as that of {fd00:1::/64: 2001:db8:1::/64}.
func splitKey(tk *token.Token) []*token.Token {
	key, value, found := strings.Cut(tk.Value, ": ")
	if last, ends := strings.CutSuffix(tk.Value, ":"); !found && ends && strings.Contains(last, ":") && !strings.HasSuffix(last, ":") {
		key, found = last, true // before a list, a mapping or a quoted text
	}
	if !found {
		return []*token.Token{tk}
	}
	part := func(text string, offset int) *token.Token {
		at := *tk.Position
		at.Column += utf8.RuneCountInString(tk.Value[:offset])
		at.Offset += offset
		return token.New(text, text, &at)
	}
	colon := token.MappingValue(part(":", len(key)).Position)
	plain := strings.TrimLeft(value, " ")
	if plain == "" {
		return []*token.Token{part(key, 0), colon}
	}
	v := part(plain, len(tk.Value)-len(plain))
	if n := len(plain); n > 1 && plain[0] == plain[n-1] {
		switch plain[0] {
		case '"':
			v = token.DoubleQuote(plain[1:n-1], plain, v.Position)
		case '\'':
			v = token.SingleQuote(plain[1:n-1], plain, v.Position)
		}
	}
	return []*token.Token{part(key, 0), colon, v}
}

// endsQuotedKey reports whether a colon directly after the token ends a key.
func endsQuotedKey(tk *token.Token) bool {
	switch tk.Type {
	case token.SingleQuoteType, token.DoubleQuoteType, token.SequenceEndType, token.MappingEndType:
		return true
	}
	return false
}

// glue returns one token for two that touch.
func glue(a, b *token.Token) *token.Token {
	return token.New(a.Value+b.Value, a.Value+b.Value, a.Position)
}

// touch reports whether b begins where a ends.
func touch(a, b *token.Token) bool {
	return a.Position.Line == b.Position.Line &&
		a.Position.Column+utf8.RuneCountInString(a.Value) == b.Position.Column
}

// plainTypes are the token types of unquoted text.
var plainTypes = []token.Type{
	token.StringType, token.IntegerType, token.BinaryIntegerType, token.OctetIntegerType, token.HexIntegerType,
	token.FloatType, token.InfinityType, token.NanType, token.BoolType, token.NullType,
}

func isPlain(tk *token.Token) bool { return slices.Contains(plainTypes, tk.Type) }
