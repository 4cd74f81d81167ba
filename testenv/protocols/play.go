package main

import (
	"context"
	"fmt"
	"time"

	"swerve/failover"
	"swerve/testenv/traffic"
	"swerve/testenv/wait"
)

// Result is what one event did to a session of each protocol in each family.
type Result struct {
	Event string `json:"event"`
	// Swerve: the daemon ran; else the kernel was alone.
	Swerve   bool      `json:"swerve"`
	Watched  float64   `json:"watched_s"`
	Outcomes []Outcome `json:"outcomes"`
	// Paused is how late the lab's wires were at worst, in seconds: a long pause of the
	// machine makes the result void.
	Paused float64 `json:"paused_s"`
}

// void reports whether the machine paused for so long that the result says little.
func (r *Result) void() bool { return r.Paused > 2*seconds(traffic.MaxLateness) }

// warmUp is how long all sessions flow before the event.
const warmUp = time.Second

// play has an event happen to sessions of protocols, with the daemon of a binary, or with
// the kernel alone where that is empty. Where some are not back at the end of the watch,
// it goes on for at most patience.
func play(ctx context.Context, binary string, e event, all []protocol, patience time.Duration) (*Result, error) {
	s, err := newScene(ctx, binary)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	if e.before != nil {
		if err := e.before(ctx, s); err != nil {
			return nil, fmt.Errorf("before %s: %w", e.name, err)
		}
	}
	live, end := context.WithCancel(ctx)
	stages, err := begin(live, s, all)
	defer func() {
		end()
		for _, stage := range stages {
			stage.tasks.Wait()
		}
	}()
	if err != nil {
		return nil, err
	}
	if err := wait.Sleep(ctx, warmUp); err != nil {
		return nil, err
	}
	return s.watch(ctx, e, stages, patience)
}

// begin starts a session of each protocol in each family, and waits until all of them
// flow. It returns those that were started.
func begin(ctx context.Context, s *scene, all []protocol) (stages []*stage, err error) {
	for n, p := range all {
		for _, family := range failover.Families {
			stage := newStage(ctx, s, p, n, family)
			stages = append(stages, stage)
			if err := p.start(stage); err != nil {
				return stages, fmt.Errorf("%s: %w\n%s", stage, err, stage.trouble())
			}
		}
	}
	for _, stage := range stages {
		if err := wait.Until(ctx, fmt.Sprintf("%s to flow", stage), stage.flows); err != nil {
			return stages, fmt.Errorf("%w\n%s", err, stage.trouble())
		}
	}
	return stages, nil
}

// watch has the event happen, and returns what became of the sessions.
func (s *scene) watch(ctx context.Context, e event, stages []*stage, patience time.Duration) (*Result, error) {
	s.MarkLateness()
	onset := time.Now()
	if err := e.begin(ctx, s); err != nil {
		return nil, fmt.Errorf("%s: %w", e.name, err)
	}
	if err := s.await(ctx, "the effect of "+e.name, e.effect); err != nil {
		return nil, err
	}
	for _, stage := range stages {
		close(stage.happened)
	}
	if err := wait.Sleep(ctx, time.Until(onset.Add(e.watch))); err != nil {
		return nil, err
	}
	awaitBack(ctx, stages, patience)
	end := time.Now()
	r := &Result{Event: e.name, Swerve: s.swerve != nil, Watched: seconds(end.Sub(onset)), Paused: seconds(s.Lateness())}
	for _, stage := range stages {
		o := stage.outcome(onset, end)
		o.Protocol, o.Family = stage.protocol.name, stage.family.String()
		r.Outcomes = append(r.Outcomes, o)
	}
	return r, nil
}

// awaitBack waits until all sessions are back, for at most patience: those that are not
// will be in the outcome.
func awaitBack(ctx context.Context, stages []*stage, patience time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for _, stage := range stages {
		_ = wait.Until(ctx, "", func() bool { return stage.backAt(time.Now()) })
	}
}

// wrong lists the sessions that did not get what they were promised at an event.
func (r *Result) wrong(e event) (all []string) {
	promised := map[string]promise{}
	for _, p := range protocols() {
		promised[p.name] = p.promise
	}
	for _, o := range r.Outcomes {
		var why string
		switch {
		case !o.Back:
			why = "is not back"
		case o.Broken > 0 && !e.loss:
			why = "was broken"
		case (o.Broken > 0 || o.Reconnects > 0) && promised[o.Protocol] == goesOn:
			why = "was broken, and should go on"
		case o.Broken == 0 && e.loss && promised[o.Protocol] == reset:
			why = "was not told of the loss"
		default:
			continue
		}
		all = append(all, fmt.Sprintf("%s: %s over %s %s: %+v", e.name, o.Protocol, o.Family, why, o))
	}
	return all
}
