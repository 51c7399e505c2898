// Turns one executable into the eight programs of a management cluster, chosen by the first argument.
//
// Each program runs as a process of its own, so that a test can kill, stop or
// restart one of them alone. Two in one process would not work anyway: signal
// handlers, feature gates and metrics registries are global in Kubernetes.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	helm "helm.sh/helm/v4/pkg/cmd"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

// programs names each program and builds its command. It is a map of builders,
// because a constructor registers flags and metrics that must not meet another
// program's.
var programs = map[string]func() (*cobra.Command, error){
	"etcd":                    func() (*cobra.Command, error) { return etcdCommand(), nil },
	"kube-apiserver":          func() (*cobra.Command, error) { return apiserver.NewAPIServerCommand(), nil },
	"kube-controller-manager": func() (*cobra.Command, error) { return controllers.NewControllerManagerCommand(), nil },
	"kube-scheduler":          func() (*cobra.Command, error) { return scheduler.NewSchedulerCommand(), nil },
	"kube-proxy":              func() (*cobra.Command, error) { return proxy.NewProxyCommand(), nil },
	"kubelet":                 func() (*cobra.Command, error) { return kubelet.NewKubeletCommand(context.Background()), nil },
	"kubectl":                 func() (*cobra.Command, error) { return kubectl.NewDefaultKubectlCommand(), nil },
	"helm":                    func() (*cobra.Command, error) { return helm.NewRootCmd(os.Stdout, os.Args[1:], helm.SetupLogging) },
}

func main() {
	// Called by the program's own name (a link to this file) or as the first argument.
	name := filepath.Base(os.Args[0])
	if _, known := programs[name]; !known {
		if len(os.Args) < 2 {
			usage()
		}
		name = os.Args[1]
		os.Args = append([]string{name}, os.Args[2:]...)
	}
	build, known := programs[name]
	if !known {
		usage()
	}
	command, err := build()
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: cannot build the command: %v\n", name, err)
		os.Exit(1)
	}
	os.Exit(cli.Run(command))
}

func usage() {
	fmt.Fprintln(os.Stderr, "usage: bb-cluster etcd|kube-apiserver|kube-controller-manager|kube-scheduler|kube-proxy|kubelet|kubectl|helm [flags]")
	os.Exit(2)
}
