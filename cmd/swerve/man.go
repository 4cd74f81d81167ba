package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"swerve/config"
	"swerve/daemon"
)

// manCmd writes the manual pages, from the same texts as the help and from the
// reference configuration. It is for the build of packages, and hidden.
func manCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "man DIR",
		Short: "Write the manual pages into a folder",
		Long: `Man writes the manual pages swerve(8), swerve.yaml(5) and one for each
subcommand. Their date is SOURCE_DATE_EPOCH, in seconds since 1970, where it is
set.`,
		Example: `  swerve man /tmp`,
		Args:    cobra.ExactArgs(1),
		Hidden:  true,
		RunE: func(cmd *cobra.Command, args []string) error {
			date := time.Now()
			if n, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64); err == nil {
				date = time.Unix(n, 0)
			}
			for name, text := range manPages(cmd.Root(), date.UTC().Format(time.DateOnly)) {
				if err := os.WriteFile(filepath.Join(args[0], name), []byte(text), 0o644); err != nil {
					return failure("write", "a manual page", err, "name a folder that can be written")
				}
			}
			return nil
		},
	}
}

// manPages returns the text of each manual page by file name.
func manPages(root *cobra.Command, date string) map[string]string {
	pages := map[string]string{"swerve.yaml.5": configPage(date)}
	var seeAlso []string
	for _, c := range root.Commands() {
		if c.IsAvailableCommand() && c.Name() != "help" {
			pages["swerve-"+c.Name()+".8"] = commandPage(c, date, "swerve(8)", "swerve.yaml(5)")
			seeAlso = append(seeAlso, "swerve-"+c.Name()+"(8)")
		}
	}
	pages["swerve.8"] = commandPage(root, date, append(seeAlso, "swerve.yaml(5)")...)
	return pages
}

func commandPage(c *cobra.Command, date string, seeAlso ...string) string {
	var b strings.Builder
	name := strings.ReplaceAll(c.CommandPath(), " ", "-")
	use := c.UseLine()
	if c.HasAvailableSubCommands() && !c.HasParent() {
		use = c.Name() + " COMMAND [flags]"
	}
	heading(&b, name, "8", date, c.Short)
	fmt.Fprintf(&b, ".SH SYNOPSIS\n.B %s\n.SH DESCRIPTION\n%s", roff(use), paragraphs(c.Long))
	if c.HasAvailableSubCommands() {
		b.WriteString(".SH COMMANDS\n")
		for _, sub := range c.Commands() {
			if sub.IsAvailableCommand() {
				fmt.Fprintf(&b, ".TP\n.B %s\n%s\n", roff(sub.Name()), roff(sub.Short))
			}
		}
	}
	b.WriteString(".SH OPTIONS\n")
	c.InitDefaultHelpFlag()
	flags := pflag.NewFlagSet(name, pflag.ContinueOnError)
	flags.AddFlagSet(c.LocalFlags())
	flags.AddFlagSet(c.InheritedFlags())
	flags.VisitAll(func(f *pflag.Flag) { option(&b, f) })
	if c.Example != "" {
		fmt.Fprintf(&b, ".SH EXAMPLES\n%s", verbatim(c.Example))
	}
	fmt.Fprintf(&b, ".SH FILES\n%s\n.SH SEE ALSO\n%s\n", filesOf(c), roff(strings.Join(seeAlso, ", ")))
	return b.String()
}

// documentation is where the packages put what the pages refer to.
const documentation = "/usr/share/doc/swerve"

// filesOf lists the files that matter to a command, one a paragraph.
func filesOf(c *cobra.Command) string {
	var b strings.Builder
	for _, f := range [][2]string{
		{daemon.DefaultConfig, "the configuration"},
		{socketOf(c), "the daemon's socket"},
		{config.Default().State, "the state folder: what outlives the daemon"},
		{documentation + "/OPERATION.md", "how to run it day by day, every problem with its remedy"},
		{documentation + "/API.md", "the status and the events for programs"},
		{documentation + "/reference.yaml", "every key of the configuration with its default"},
	} {
		fmt.Fprintf(&b, ".TP\n.I %s\n%s\n", roff(f[0]), roff(f[1]))
	}
	return strings.TrimRight(b.String(), "\n")
}

func socketOf(c *cobra.Command) string { return c.Root().PersistentFlags().Lookup("socket").DefValue }

func option(b *strings.Builder, f *pflag.Flag) {
	value, usage := pflag.UnquoteUsage(f)
	text := "--" + f.Name
	if f.Shorthand != "" {
		text = "-" + f.Shorthand + ", " + text
	}
	if value != "" {
		text += " " + value
	}
	if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "[]" && f.DefValue != "0s" {
		usage += " (default " + f.DefValue + ")"
	}
	fmt.Fprintf(b, ".TP\n.B %s\n%s\n", roff(text), roff(usage))
}

// configPage is swerve.yaml(5): the reference configuration with its comments.
func configPage(date string) string {
	var b strings.Builder
	heading(&b, "swerve.yaml", "5", date, "the configuration of swerve")
	b.WriteString(".SH DESCRIPTION\n" + paragraphs("Each key of the configuration, with its default and what it may be. "+
		"Keys that are not given have their defaults.\n\nAfter a change: swerve check && swerve reload") +
		".SH KEYS\n" + verbatim(string(config.Reference)) +
		".SH FILES\n" + roff(daemon.DefaultConfig+", "+documentation+"/OPERATION.md, "+documentation+"/reference.yaml") + "\n.SH SEE ALSO\n" + roff("swerve(8), swerve-check(8), swerve-reload(8)") + "\n")
	return b.String()
}

func heading(b *strings.Builder, name, section, date, short string) {
	released, _, _ := strings.Cut(version, "~") // a snapshot's whole name would run into the date
	fmt.Fprintf(b, ".TH %s %s %s \"swerve %s\"\n.SH NAME\n%s \\- %s\n",
		roff(strings.ToUpper(name)), section, date, roff(released), roff(name), roff(short))
}

func paragraphs(text string) string { return roff(strings.ReplaceAll(text, "\n\n", "\n.PP\n")) + "\n" }

func verbatim(text string) string { return ".nf\n" + roff(strings.TrimRight(text, "\n")) + "\n.fi\n" }

// roff escapes what troff would interpret: backslashes, hyphens, and dots and quotes
// at the beginning of a line, except for the paragraphs of this file.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`, "…", "...").Replace(text)
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if line != ".PP" && (strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'")) {
			lines[i] = `\&` + line
		}
	}
	return strings.Join(lines, "\n")
}
