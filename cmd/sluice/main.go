// Command sluice is an edge router. See the README for a tour and `sluice --help` for the command line.
package main

import (
	"os"

	"sluice/internal/run/cli"
)

func main() { os.Exit(cli.Exec()) }
