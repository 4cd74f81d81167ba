// Package config reads the configuration file.
//
// A file goes in by [Load] or [Parse]; out comes either a whole [Config], with
// every default filled in and every rule of the format kept, or the list of
// all that is wrong with it, each [Problem] with its line, its path, what is
// wrong and what would be right. There is nothing in between: a file with one
// mistake yields no Config, so that a daemon never runs on half of one.
//
// # How a file is read
//
//   - source.go looks at the bytes: size, UTF-8, control characters.
//   - syntax.go has the YAML library make tokens, bounds.go refuses what would
//     cost the library's parser too much (nesting, sizes), and syntax.go has
//     the rest parsed. A syntax error costs its own top-level section only.
//   - tree.go walks the syntax tree: anchors, aliases, merge keys, duplicates.
//   - schema.go says, one line a key, which key is read how and to where.
//     scalar.go, address.go, target.go and match.go read single values.
//   - check_*.go hold the rules that need more than one value.
//
// # What comes out
//
// [Config.Engine] and [Config.Layout] turn a Config into what package failover
// takes. [Config.Auto] and [Init] make uplinks, and a file, from the default
// routes that a machine has. [Config.Summary] tells a person what a file means.
//
// The package touches nothing but the file that it is told to read.
package config
