package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"swerve/control"
	"swerve/control/say"
	"swerve/failover"
	"swerve/rule"
)

func explainCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "explain SRC DST [PROTO PORT] [--in IF] [--dscp DSCP] [--mark MARK] [--json]",
		Short: "Tell by which uplink a packet would go, and why",
		Long: `Explain tells what becomes of the first packet of a flow from SRC to DST: which
rule and policy it goes by, which uplink carries it, with which source address,
and for each other uplink why not. It evaluates the rules that are in the
kernel, and asks the kernel for the route.

PROTO is a name such as tcp or udp, or a number; PORT is the destination's.
Where SRC is an address of this machine, the packet is one of its own; else it
comes in by the interface by which this machine reaches SRC, or by --in, an
interface or an uplink. Rules may ask for a DSCP code point or the mark that
another program gives: it has none but those of --dscp and --mark.`,
		Example: `  swerve explain 192.168.1.20 198.51.100.7 tcp 443
  swerve explain 198.51.100.7 203.0.113.2 tcp 22 --in fiber
  swerve explain 192.168.1.20 198.51.100.7 udp 5060 --dscp ef --mark 0x10`,
		Args: explainArgs,

		DisableFlagsInUseLine: true,
		ValidArgsFunction:     cobra.NoFileCompletions,
	}
	in := cmd.Flags().String("in", "", "the interface, or the uplink, that it comes in by, a `NAME`")
	dscp := cmd.Flags().String("dscp", "", "the packet's `DSCP` code point, a name such as ef or a number")
	mark := cmd.Flags().String("mark", "", "the `MARK` that another program gives it, such as 0x10")
	_ = cmd.RegisterFlagCompletionFunc("dscp", cobra.FixedCompletions(rule.DSCPNames(), cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("mark", cobra.NoFileCompletions)
	asJSON := cmd.Flags().Bool("json", false, "print the daemon's answer")
	_ = cmd.RegisterFlagCompletionFunc("in", func(cmd *cobra.Command, _ []string, last string) ([]string, cobra.ShellCompDirective) {
		return completeUplink(cmd, nil, last)
	})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		args = append(args, "", "")
		q, err := control.QuestionWords{Src: args[0], Dst: args[1], Proto: args[2], Port: args[3], DSCP: *dscp, Mark: *mark, In: *in}.Parse()
		for _, flag := range []string{"in", "dscp", "mark"} {
			if f := cmd.Flags().Lookup(flag); err == nil && f.Changed && f.Value.String() == "" {
				err = fmt.Errorf("--%s is empty", flag)
			}
		}
		if err == nil && args[0] == "" {
			err = errors.New("src is missing")
		}
		if err != nil {
			return usageError(cmd, err)
		}
		c := client(cmd)
		defer c.Close()
		if *asJSON {
			body, err := c.ExplainJSON(cmd.Context(), q)
			if err != nil {
				return err
			}
			var text bytes.Buffer
			if err := json.Indent(&text, bytes.TrimSpace(body), "", "  "); err != nil {
				return failure("read", "the daemon's answer", err, "use a client and a daemon of the same version")
			}
			return write(cmd.OutOrStdout(), text.String()+"\n")
		}
		e, err := c.Explain(cmd.Context(), q)
		if err != nil {
			return err
		}
		return write(cmd.OutOrStdout(), explained(e))
	}
	return cmd
}

// explainArgs accepts two addresses, and a protocol with or without a port.
func explainArgs(cmd *cobra.Command, args []string) error {
	if len(args) < 2 || len(args) > 4 {
		return fmt.Errorf("want SRC DST, and PROTO PORT where they matter, not %d words", len(args))
	}
	return nil
}

// explained is an explanation for people.
func explained(e *control.Explanation) string {
	var b strings.Builder
	row := func(name, text string) {
		if text != "" {
			b.WriteString(wrap(fmt.Sprintf("%-8s ", name), say.Clean(text), 9) + "\n")
		}
	}
	row("packet", packetText(e))
	if e.Rule != nil {
		row("rule", fmt.Sprintf("%d, line %d of the configuration: use %s", e.Rule.Number, e.Rule.Line, e.Rule.Policy))
	} else if e.Policy != nil {
		row("rule", "none matches")
	}
	if e.Policy != nil {
		text := *e.Policy
		if e.Tier != nil {
			text += fmt.Sprintf(", tier %d", *e.Tier)
		}
		row("policy", text)
	}
	row("uplink", wayText(e))
	if e.Source != nil && e.Src != nil {
		text := e.Source.String()
		if *e.Source != *e.Src {
			text += ", by our NAT"
		}
		row("source", text)
	}
	row("why", e.Why)
	for i, o := range e.Others {
		name := ""
		if i == 0 {
			name = "others"
		}
		b.WriteString(wrap(fmt.Sprintf("%-8s ", name), say.Clean(o.Uplink+" "+o.Reason), 11) + "\n")
	}
	for i, n := range e.Notes {
		name := ""
		if i == 0 {
			name = "notes"
		}
		b.WriteString(wrap(fmt.Sprintf("%-8s ", name), say.Clean(n), 11) + "\n")
	}
	return b.String()
}

func packetText(e *control.Explanation) string {
	var text string
	if e.Src != nil {
		text = e.Src.String() + " to "
	}
	text += e.Dst.String()
	if e.Proto != 0 {
		text += ", " + protocolName(e.Proto)
	}
	if e.Port != 0 {
		text += fmt.Sprintf(" port %d", e.Port)
	}
	if e.DSCP != 0 {
		text += fmt.Sprintf(", DSCP %d", e.DSCP)
	}
	if e.Mark != 0 {
		text += fmt.Sprintf(", mark %#x", e.Mark)
	}
	if e.In == "" {
		return text + ", this machine's own"
	}
	return text + ", in by " + e.In
}

func protocolName(n uint8) string {
	for _, name := range []string{"tcp", "udp", "icmp", "icmpv6", "sctp", "gre", "esp"} {
		if q, err := (control.QuestionWords{Dst: "192.0.2.1", Proto: name}).Parse(); err == nil && q.Proto == n {
			return name
		}
	}
	return fmt.Sprintf("protocol %d", n)
}

func wayText(e *control.Explanation) string {
	if e.Interface == "" {
		return "none"
	}
	text := "none, by " + e.Interface
	if e.Uplink != nil {
		text = fmt.Sprintf("%s (%s)", *e.Uplink, e.Interface)
	}
	if e.Gateway != nil {
		text += ", via " + e.Gateway.String()
	}
	if e.Route != nil && e.Route.Bits() > 0 && failover.FamilyOf(e.Route.Addr()) == failover.FamilyOf(e.Dst) {
		text += fmt.Sprintf(", route %s", e.Route)
	}
	return text
}
