package main

import (
	"context"

	"swerve/testenv/lab"
)

// unitNice is the nice value that the unit gives the daemon.
const unitNice = "-10"

// startGateway builds a lab with two uplinks, starts the daemon in its gateway with the
// defaults, and waits until all is up.
func startGateway(ctx context.Context, binary string) (*lab.Swerve, error) {
	l, err := lab.New(lab.Options{})
	if err != nil {
		return nil, err
	}
	g, err := l.NewSwerve(lab.Setup{Binary: binary, Prefix: []string{"nice", "-n", unitNice}, Config: lab.TwoUplinks})
	if err == nil {
		err = g.Start()
	}
	if err == nil {
		err = awaitUp(ctx, g)
	}
	if err != nil {
		l.Close()
		return nil, err
	}
	return g, nil
}

// awaitUp waits until the running daemon has every uplink up in both families.
func awaitUp(ctx context.Context, g lab.Gateway) error {
	_, err := lab.Await(ctx, g, "the uplinks to be up", lab.AllUp)
	return err
}
