package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"swerve/control/say"
)

func confirmCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "confirm",
		Short: "Keep what reload --confirm has put in force",
		Long: `Confirm keeps the configuration that "swerve reload --confirm" has put in force
for a time. Where none waits, it says so and exits with 2.`,
		Example: `  swerve reload --confirm 2m
  swerve confirm`,
		Args: cobra.NoArgs,

		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c := client(cmd)
			defer c.Close()
			done, err := c.Confirm(cmd.Context())
			if err != nil {
				return err
			}
			return write(cmd.OutOrStdout(), fmt.Sprintf("confirmed %s, generation %d\n", configName(say.Clean(done.Config)), done.Generation))
		},
	}
}

// configName names a configuration by its file.
func configName(path string) string {
	if path == "" {
		return "the configuration without a file"
	}
	return path
}
