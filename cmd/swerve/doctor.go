package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"swerve/control"
	"swerve/control/say"
	"swerve/daemon"
)

func doctorCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Find what on this machine will bite",
		Long: `Doctor examines this machine, and the daemon on it if there is one: forwarding,
reverse path filtering, conntrack, marks, tables and priorities that clash with
rules of other programs, flow offload, routes that lead elsewhere, uplinks that
were never proven, resolvers, the configuration's permissions, the clock. Each
finding has its severity, the evidence, and what to do. It changes nothing.

The exit code is 0 when there is nothing from a warning on, 1 when there is, and
2 when the configuration is not valid: that is a finding too, and the rest is
examined with the default one. Without privilege it tells what it could not look
at.`,
		Example: `  swerve doctor
  swerve doctor --json | jq '.findings[].code'`,
		Args: cobra.NoArgs,

		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			options, problems := previewOptions(cmd)
			printProblems(cmd, problems)
			findings, err := daemon.Doctor(cmd.Context(), options)
			if err != nil {
				return failure("examine", "this machine", err, "run it as root")
			}
			asJSON, _ := cmd.Flags().GetBool("json")
			if err := printFindings(cmd, findings, asJSON); err != nil {
				return err
			}
			if len(problems) > 0 {
				return silent(exitUsage)
			}
			for _, f := range findings {
				if f.Severity != control.Info {
					return silent(exitFailed)
				}
			}
			return nil
		},
	}
	configFlag(cmd)
	cmd.Flags().Bool("json", false, "print the findings as JSON")
	return cmd
}

func printFindings(cmd *cobra.Command, findings []daemon.Finding, asJSON bool) error {
	out := cmd.OutOrStdout()
	if asJSON {
		encoder := json.NewEncoder(out)
		encoder.SetEscapeHTML(false)
		return encoder.Encode(struct {
			Version  int                          `json:"version"`
			Findings control.List[daemon.Finding] `json:"findings"`
		}{1, findings})
	}
	return write(out, findingsText(findings))
}

func findingsText(findings []daemon.Finding) string {
	if len(findings) == 0 {
		return "nothing found\n"
	}
	var b strings.Builder
	for _, f := range findings {
		fmt.Fprintln(&b, wrap("", fmt.Sprintf("%s %s, %s: %s", f.Severity, f.Code, say.OneLine(f.Object), say.OneLine(f.Text)), 4))
		fmt.Fprintln(&b, wrap("  seen: ", say.OneLine(f.Evidence), 8))
		fmt.Fprintln(&b, wrap("  do: ", say.OneLine(f.Remedy), 6))
	}
	return b.String()
}
