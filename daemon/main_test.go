package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"swerve/config"
)

// insideEnv makes this program run one function of the package and exit, so that a
// test can run it in a namespace, in a process of its own.
const insideEnv = "SWERVE_DAEMON_TEST"

func TestMain(m *testing.M) {
	if what := os.Getenv(insideEnv); what != "" {
		os.Exit(inside(what, os.Getenv(insideEnv+"_CONFIG")))
	}
	goleak.VerifyTestMain(m)
}

func inside(what, path string) int {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	err := fmt.Errorf("what is %q?", what)
	switch o := (Options{Config: path, Software: "test", Log: log}); what {
	case "run":
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		hangups := make(chan os.Signal, 1)
		signal.Notify(hangups, syscall.SIGHUP)
		o.Hangup = hangups
		err = Run(ctx, o)
	case "plan":
		var c Changes
		c, err = Plan(o)
		fmt.Print(c.Script())
	case "doctor":
		var found []Finding
		found, err = Doctor(context.Background(), o)
		err = errors.Join(err, json.NewEncoder(os.Stdout).Encode(found))
	case "hold", "hold-as-is", "hold-all", "hold-deaf":
		err = holdAsStranger(what)
	case "teardown":
		err = Teardown(o)
	case "init":
		cfg, _, _ := o.Load()
		var taken config.Taken
		taken, err = Taken(context.Background(), o, cfg)
		os.Stdout.Write(config.Init(taken, nil))
	case "warnings":
		cfg, _, _ := o.Load()
		_, err = fmt.Println(strings.Join(MachineWarnings(cfg, cfg.Uplinks), "\n"))
	case "defaults":
		err = nil
		for _, r := range defaultRoutes(new(frozenNetwork).Defaults()) {
			fmt.Println(r.Interface, r.Metric)
		}
	}
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, err)
	if errors.As(err, new(*HeldError)) {
		return 3
	}
	return 1
}
