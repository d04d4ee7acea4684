package main

import (
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"sidetone/cmd/sidetone/internal/config"
	"sidetone/internal/seal"
)

func keysCmd() *cobra.Command {
	var configPath, kind string
	open := func() (*seal.Keyring, error) {
		cfg, err := config.Load(configPath)
		if err != nil {
			return nil, err
		}
		dir, err := cfg.Storage.Path()
		if err != nil {
			return nil, err
		}
		return seal.Open(seal.Config{Dir: cfg.Storage.KeysIn(dir), Kind: seal.Kind(kind)})
	}
	c := &cobra.Command{
		Use:   "keys",
		Short: "List and rotate the keys that recordings and voiceprints are encrypted with",
		Long: `Recordings and voiceprints are encrypted for the newest key of a folder
(storage.keys). The first one is made when it is needed. A rotated key goes on
opening what it has encrypted, as long as its file is there: back the files up,
and remove one only when all that it has encrypted may be gone.

They are age identities: age -d -i FILE.age-key call.flac.age > call.flac`,
	}
	c.PersistentFlags().StringVarP(&configPath, "config", "c", "", "configuration file (see `sidetone config`); empty: the defaults")
	list := &cobra.Command{
		Use:   "list",
		Short: "Say which keys there are",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ring, err := open()
			if err != nil {
				return err
			}
			keys, err := ring.Keys()
			if err != nil {
				return err
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "KEY\tKIND\tMADE\tSTATE\tFILE")
			for _, k := range keys {
				state := "opens"
				if k.Current {
					state = "seals and opens"
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", k.ID, k.Kind, k.Created.Format(time.RFC3339), state, k.Path)
			}
			return w.Flush()
		},
	}
	rotate := &cobra.Command{
		Use:     "rotate",
		Short:   "Make a new key, with which everything new is encrypted; a running server takes it up by itself",
		Example: "  sidetone keys rotate\n  sidetone keys rotate --kind x25519",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ring, err := open()
			if err != nil {
				return err
			}
			k, err := ring.Rotate(time.Now())
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s seals from now on: back up %s\n", k.ID, k.Path)
			return err
		},
	}
	rotate.Flags().StringVar(&kind, "kind", string(seal.Hybrid), "kind of the new key: hybrid, which withstands quantum computers, or x25519")
	c.AddCommand(list, rotate)
	return c
}
