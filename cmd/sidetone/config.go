package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"sidetone/cmd/sidetone/internal/config"
)

func configCmd() *cobra.Command {
	c := &cobra.Command{
		Use:   "config",
		Short: "Print the configuration file with every key, its default and a comment",
		Example: `  sidetone config > sidetone.yaml
  sidetone config check sidetone.yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := cmd.OutOrStdout().Write(config.YAML())
			return err
		},
	}
	c.AddCommand(&cobra.Command{
		Use:   "check FILE",
		Short: "Say whether a configuration file is valid, without starting anything",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, err := config.Load(args[0]); err != nil {
				return err
			}
			_, err := fmt.Fprintln(cmd.OutOrStdout(), args[0]+" is valid")
			return err
		},
	})
	return c
}
