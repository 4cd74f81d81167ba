// Package config reads the configuration file.
//
// [Load] and [Parse] return either a complete [Config], with every default filled
// in and every rule of the format checked, or the list of everything that is
// wrong with the file, each [Problem] with its line, its path, what is wrong and
// what would be right. A file with a single mistake yields no Config, so that a
// daemon never runs on a part of one.
//
// # How a file is read
//
//   - source.go checks the bytes: size, UTF-8, control characters.
//   - syntax.go has the YAML library tokenise the text. colon.go corrects the
//     tokens, bounds.go rejects what is too expensive for the library's parser
//     (nesting, sizes), and syntax.go has the rest parsed. A syntax error costs
//     only the top-level section that it is in.
//   - tree.go walks the syntax tree, alias.go resolves anchors and merge keys, and
//     form.go distinguishes the kinds of nodes.
//   - schema.go has one line for each key: how it is read, and where its value is
//     stored. decode.go applies the schema. read.go reads lists of sections;
//     scalar.go, duration.go, limit.go, address.go, target.go and match.go read
//     single values.
//   - check.go and check_….go have the rules that involve more than one value.
//
// # What the result is for
//
// [Config.Engine] converts a Config to that of package failover, [Config.Layout]
// to that of package lane. [Config.Auto] and [Init] derive uplinks, and a file,
// from a machine's default routes. [Config.Summary] describes to a person what a
// file means, [Config.Warnings] what is probably not intended.
//
// The package reads no file but the one that it is given, and changes none.
package config
