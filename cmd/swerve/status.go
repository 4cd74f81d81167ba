package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"swerve/control"
)

func statusCmd() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the current state on one screen",
		Long: `Status shows the current state: what is wrong and what to do about it, each
uplink in each family with its state, since when, its loss, latency and gateway,
which uplink each policy uses, and the last switch with its evidence.

States: up; degraded (answers, over a limit); suspect (a probe is late);
shunned (silent: new flows go elsewhere); down (silent for longer, or without
carrier, interface or address: sessions move); recovering; unknown (not proven
yet); absent (the family is not offered here).

The exit code is 0 when all is well, 1 when there is a warning or worse, and 3
when no daemon answers.

With --json it prints the same as JSON, whose fields API.md describes
(/usr/share/doc/swerve). What is not known is null there.`,
		Example: `  swerve status
  swerve status --json | jq '.uplinks[] | {name, state: .ipv4.state}'
  swerve status >/dev/null || echo "something is wrong"`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runStatus(cmd, asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func runStatus(cmd *cobra.Command, asJSON bool) error {
	c := client(cmd)
	defer c.Close()
	body, err := c.StatusJSON(cmd.Context())
	if err != nil {
		return err
	}
	status, err := control.ParseStatus(body)
	if err != nil {
		return failure("read the status from", socketPath(cmd), err, "use a client and a daemon of the same version")
	}
	out := cmd.OutOrStdout()
	if asJSON {
		err = printStatusJSON(out, body)
	} else {
		err = write(out, statusScreen(status, paint(wantsColour(out))))
	}
	if err == nil && status.Overall != control.OK {
		return silent(exitFailed)
	}
	return err
}

// printStatusJSON prints what the daemon sent, including fields that this version does
// not know.
func printStatusJSON(out io.Writer, body []byte) error {
	var b bytes.Buffer
	if err := json.Indent(&b, bytes.TrimSpace(body), "", "  "); err != nil {
		return fmt.Errorf("format the status: %w", err)
	}
	return write(out, b.String()+"\n")
}

// write prints text, which may fail where a disk is full.
func write(out io.Writer, text string) error {
	if _, err := io.WriteString(out, text); err != nil {
		return failure("write", "standard output", err, "")
	}
	return nil
}
