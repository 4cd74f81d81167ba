package config

import (
	"fmt"
	"slices"
)

// A reader decodes a node into a value. Where that fails it has added the problem
// and returns false.
type reader[V any] func(d *decoder, n node) (V, bool)

// field is one key of a mapping that becomes a T.
type field[T any] struct {
	key string
	// keys are those of the mapping below the field, if it is one.
	keys []string
	// required: the key must be in the file; want then says what it takes.
	required bool
	want     string
	read     func(d *decoder, n node, into *T)
}

// fields is the schema of a mapping that becomes a T.
type fields[T any] []field[T]

// set returns a field whose value, once read, is stored at the place.
func set[T, V any](key string, place func(*T) *V, read reader[V]) field[T] {
	return field[T]{key: key, read: func(d *decoder, n node, into *T) {
		if v, ok := read(d, n); ok {
			*place(into) = v
		}
	}}
}

// section returns a field that is a mapping itself. Keys that it does not have keep
// the value at the place.
func section[T, S any](key string, place func(*T) *S, below fields[S]) field[T] {
	return field[T]{key: key, keys: below.keys(), read: func(d *decoder, n node, into *T) {
		below.read(d, n, place(into))
	}}
}

// must makes a field required; want says what it takes.
func must[T any](f field[T], want string) field[T] {
	f.required, f.want = true, want
	return f
}

func (fs fields[T]) keys() []string {
	keys := make([]string, len(fs))
	for i, f := range fs {
		keys[i] = f.key
	}
	return keys
}

// checked adds a rule that involves several values of a section. It applies only
// if each of them is good.
func checked[T any](f field[T], rule func(d *decoder, n node, into *T)) field[T] {
	read := f.read
	f.read = func(d *decoder, n node, into *T) {
		before := d.count()
		read(d, n, into)
		if d.count() == before {
			rule(d, n, into)
		}
	}
	return f
}

// read reads the mapping n into a value that already has its defaults, in the
// order of the schema.
func (fs fields[T]) read(d *decoder, n node, into *T) {
	want := ""
	if !isMapping(n.ast) {
		want = "a mapping of " + or(fs.keys())
	}
	list, ok := d.entries(n, want)
	if !ok {
		return
	}
	given := make([]*entry, len(fs))
	for i := range list {
		e := &list[i]
		if k := slices.IndexFunc(fs, func(f field[T]) bool { return f.key == e.key }); k >= 0 {
			given[k] = e
		} else {
			d.add(e.at, e.path, "unknown key "+show(e.key), fs.meant(e.key))
		}
	}
	for k, f := range fs {
		switch {
		case given[k] != nil:
			f.read(d, given[k].node, into)
		case f.required && !d.given(keyPath(n.path, f.key)):
			d.add(n.at, keyPath(n.path, f.key), "is missing", f.want)
		}
	}
}

// meant returns what is right instead of an unknown key: the same key a level
// below, a similar key, or, failing those, the list of keys.
func (fs fields[T]) meant(key string) string {
	for _, f := range fs {
		if slices.Contains(f.keys, key) {
			return fmt.Sprintf("did you mean %s.%s?", f.key, key)
		}
	}
	if like, ok := nearest(key, fs.keys()); ok {
		return "did you mean " + like + "?"
	}
	return "one of " + or(fs.keys())
}

// oneOrMany reads a list, or a single value as a list of one. An empty value is an
// empty list.
func oneOrMany[V any](limit int, one reader[V]) reader[[]V] {
	return func(d *decoder, n node) ([]V, bool) {
		if n.broken {
			return nil, false
		}
		if isNothing(n.ast) {
			return nil, true
		}
		nodes := []node{n}
		if isList(n.ast) {
			nodes, _ = d.items(n, "")
		}
		if len(nodes) > limit {
			d.wrong(n, fmt.Sprintf("has %d items", len(nodes)), fmt.Sprintf("at most %d", limit))
			return nil, false
		}
		return readAll(d, nodes, one)
	}
}

// parsed returns a reader of single values that parse accepts. Others are reported
// as wrong, such as "is not a port"; want says what would be right.
func parsed[V any](want, wrong string, parse func(string) (V, bool)) reader[V] {
	return func(d *decoder, n node) (v V, ok bool) {
		s, ok := d.text(n, want)
		if !ok {
			return v, false
		}
		if v, ok = parse(s); !ok {
			d.wrong(n, show(s)+" "+wrong, want)
		}
		return v, ok
	}
}

// readAll reads every node, so that each mistake among them is reported.
func readAll[V any](d *decoder, nodes []node, one reader[V]) ([]V, bool) {
	values, good := make([]V, 0, len(nodes)), true
	for _, n := range nodes {
		v, ok := one(d, n)
		values = append(values, v)
		good = good && ok
	}
	return values, good
}
