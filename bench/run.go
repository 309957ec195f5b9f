package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// sample is what one run of one implementation gave.
type sample struct {
	Round    int                `json:"round"`
	Workload string             `json:"workload"`
	Impl     string             `json:"impl"`
	Values   map[string]float64 `json:"values"`
}

// onOneCPU returns the environment of a program that has one CPU. A loop that is in a system
// call or in C for 20 µs loses a single P to the runtime, and a switch of threads follows, so
// that most programs do better with one to spare.
func (i impl) onOneCPU() []string {
	procs := "GOMAXPROCS=2"
	if i.single {
		procs = "GOMAXPROCS=1"
	}
	return append(os.Environ(), procs)
}

// errUnsupported says that a program has not the implementation.
var errUnsupported = errors.New("unsupported")

type runner struct {
	bin, profiles string
	window        time.Duration

	cpus    unix.CPUSet // all that the program may use
	one     unix.CPUSet // the server's
	other   unix.CPUSet // the load generator's
	missing map[string]bool
}

// prepare chooses the CPUs and finds out what cannot be run.
func (r *runner) prepare() error {
	if err := unix.SchedGetaffinity(0, &r.cpus); err != nil {
		return err
	}
	var cpus []int
	for cpu := 0; len(cpus) < r.cpus.Count(); cpu++ {
		if r.cpus.IsSet(cpu) {
			cpus = append(cpus, cpu)
		}
	}
	r.one.Set(cpus[len(cpus)-1])
	r.other.Set(cpus[0])
	if len(cpus) < 2 {
		log.Print("There is one CPU only: the load generator takes its part of it.")
	}
	r.missing = map[string]bool{}
	if err := exec.Command("lua5.1", "-e", `require "luaevent.core" require "socket"`).Run(); err != nil {
		log.Print("luaevent is left out: it needs the packages lua5.1, lua-event and lua-socket.")
		r.missing["luaevent"] = true
	}
	if r.profiles != "" {
		return os.MkdirAll(r.profiles, 0o777)
	}
	return nil
}

// round does every workload once. The first implementation is another one each round.
func (r *runner) round(ctx context.Context, p plan, round, rounds int) ([]sample, error) {
	var samples []sample
	for _, w := range p.workloads {
		log.Printf("round %d of %d: %s", round+1, rounds, w.Name)
		for k := range p.impls {
			i := p.impls[(k+round)%len(p.impls)]
			if !i.does(w) || r.missing[i.Name] {
				continue
			}
			values, err := r.measure(ctx, w, i)
			if errors.Is(err, errUnsupported) {
				log.Printf("%s is left out: it is not there yet", i.Name)
				r.missing[i.Name] = true
				continue
			}
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if err != nil {
				log.Printf("%s is left out of this round: %v", i.Name, err)
				continue
			}
			samples = append(samples, sample{round, w.Name, i.Name, values})
		}
	}
	return samples, nil
}

func (r *runner) measure(ctx context.Context, w workload, i impl) (map[string]float64, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if w.server {
		return r.serve(ctx, w, i)
	}
	cmd := r.command(ctx, w, i, w.args...)
	cmd.Args = append(cmd.Args, "-ms", fmt.Sprint(r.window.Milliseconds()))
	cmd.Env = i.onOneCPU()
	return r.output(cmd, &r.one)
}

// serve runs the server and the load generator against it.
func (r *runner) serve(ctx context.Context, w workload, i impl) (_ map[string]float64, err error) {
	server := r.command(ctx, w, i)
	cpus, load := &r.one, &r.other
	if w.allCores {
		cpus, load = &r.cpus, &r.cpus
		server.Args = append(server.Args, "-loops", fmt.Sprint(r.cpus.Count()))
	} else {
		server.Env = i.onOneCPU()
	}
	if w.idle && i.Name == "net" {
		server.Args = append(server.Args, "-buffer", "4096")
	}
	stdout, err := server.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := start(server, cpus, &r.cpus); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil || !i.golang {
			_ = server.Process.Kill()
		}
		_ = server.Wait() // which kills one that goes on when ctx ends
	}()
	lines := bufio.NewScanner(stdout)
	port, err := awaitPort(lines)
	if err != nil {
		return nil, err
	}
	cmd := r.command(ctx, w, impl{args: []string{"load"}, dir: true},
		"-port", port, "-pid", fmt.Sprint(server.Process.Pid), "-window", fmt.Sprint(r.window.Milliseconds()),
		"-warmup", fmt.Sprint(min(r.window/2, 200*time.Millisecond).Milliseconds()))
	cmd.Args = append(cmd.Args, w.args...)
	if i.golang {
		cmd.Args = append(cmd.Args, "-signal", "1")
	}
	values, err := r.output(cmd, load)
	if err != nil {
		return nil, err
	}
	echoes := values["echoes"]
	delete(values, "echoes")
	if !i.golang {
		return values, nil
	}
	before, err := awaitMallocs(lines)
	if err != nil {
		return nil, err
	}
	after, err := awaitMallocs(lines)
	if err != nil {
		return nil, err
	}
	values["allocs"] = (after - before) / echoes
	// It may have a profile to write.
	return values, server.Process.Signal(syscall.SIGTERM)
}

// awaitMallocs returns the number of allocations a server prints at the load generator's signal.
func awaitMallocs(lines *bufio.Scanner) (float64, error) {
	lines.Scan()
	s, ok := strings.CutPrefix(lines.Text(), "mallocs ")
	if !ok {
		return 0, errors.Join(errors.New("the server did not count its allocations"), lines.Err())
	}
	return strconv.ParseFloat(s, 64)
}

// awaitPort returns the port a server prints, perhaps after other lines.
func awaitPort(lines *bufio.Scanner) (string, error) {
	for lines.Scan() {
		if lines.Text() == "unsupported" {
			return "", errUnsupported
		}
		if port, ok := strings.CutPrefix(lines.Text(), "port "); ok {
			return port, nil
		}
	}
	return "", errors.Join(errors.New("the server did not start"), lines.Err())
}

// command makes the command of i with some more arguments. It ends with this program.
func (r *runner) command(ctx context.Context, w workload, i impl, args ...string) *exec.Cmd {
	name := i.args[0]
	if i.dir {
		name = filepath.Join(r.bin, name)
	}
	args = append(append([]string{}, i.args[1:]...), args...)
	if i.golang && r.profiles != "" {
		file := strings.NewReplacer(" ", "-", ",", "").Replace(i.Name + "-" + w.Name + ".prof")
		args = append(args, "-cpuprofile", filepath.Join(r.profiles, file))
	}
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = time.Second
	return cmd
}

// start starts cmd on the CPUs on, and leaves this thread on those of back.
func start(cmd *exec.Cmd, on, back *unix.CPUSet) error {
	if err := unix.SchedSetaffinity(0, on); err != nil {
		return err
	}
	return errors.Join(cmd.Start(), unix.SchedSetaffinity(0, back))
}

// output runs cmd and returns the object it prints.
func (r *runner) output(cmd *exec.Cmd, cpus *unix.CPUSet) (values map[string]float64, err error) {
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := start(cmd, cpus, &r.cpus); err != nil {
		return nil, err
	}
	if err := cmd.Wait(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, strings.TrimSpace(stderr.String()))
	}
	if err := json.Unmarshal([]byte(stdout.String()), &values); err != nil {
		return nil, err
	}
	if add, ok := values["add"]; ok {
		values["add+del"] = add + values["del"]
	}
	return values, nil
}
