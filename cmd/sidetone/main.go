// Command sidetone listens to forked calls and guides the agent: it writes down
// what is said, understands what the customer wants and shows the right card.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// version is set by the linker.
var version = "unknown" //nolint:gochecknoglobals // the linker writes it

func main() { os.Exit(run(os.Args[1:])) }

// run executes one command line and returns the process's exit status.
func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := rootCmd()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	switch {
	case err == nil:
		return 0
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		return 130
	default:
		fmt.Fprintln(os.Stderr, "sidetone:", err)
		return 1
	}
}

func rootCmd() *cobra.Command {
	root := &cobra.Command{
		Use:   "sidetone",
		Short: "Live call transcription and agent guidance, on your own machine",
		Long: `Sidetone takes the forked audio of live calls, transcribes both sides, spots
what the customer wants and puts the next best action on the agent's screen.
No audio leaves the machine.`,
		Example: `  sidetone models pull          get the weights, once
  sidetone demo                 start the server and play a bank call into it
  sidetone serve -c my.yaml     start the server for your PBX
  sidetone call talk.wav --server http://127.0.0.1:8080 --agent ann`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       version,
	}
	root.AddCommand(serveCmd(), demoCmd(), callCmd(), doctorCmd(), healthCmd(), backupCmd(), restoreCmd(), modelsCmd(), benchCmd(), configCmd(), usersCmd(), tokensCmd(), callsCmd(), auditCmd(), keysCmd(), voiceCmd(), enrollCmd())
	return root
}
