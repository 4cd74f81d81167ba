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
//   - syntax.go has the YAML library make tokens, mend.go mends them, bounds.go
//     refuses what would cost the library's parser too much (nesting, sizes),
//     and syntax.go has the rest parsed. A syntax error costs its own top-level
//     section only.
//   - tree.go walks the syntax tree, alias.go resolves anchors and merge keys,
//     form.go knows what kinds of nodes there are.
//   - schema.go says, one line a key, which key is read how and to where, and
//     decode.go follows it. read.go reads lists of sections; scalar.go,
//     duration.go, limit.go, address.go, target.go and match.go single values.
//   - check.go and check_….go hold the rules that need more than one value,
//     shadow.go whether one rule takes all that another would.
//
// # What comes out
//
// [Config.Engine] and [Config.Layout] turn a Config into what package failover
// takes. [Config.Auto] and [Init] make uplinks, and a file, from the default
// routes that a machine has. [Config.Summary] tells a person what a file means,
// [Config.Warnings] what in it is probably not meant.
//
// The package touches nothing but the file that it is told to read.
package config
