// Turns four flags into a running single-member etcd.
package main

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/embed"
)

// etcdCommand serves one etcd member from a data directory until it is told to end.
// It does not wait for the disk on each write: what it keeps is a lab's.
func etcdCommand() *cobra.Command {
	var dir, client, peer, level string
	command := &cobra.Command{
		Use:           "etcd",
		Short:         "Serve a single etcd member",
		SilenceUsage:  true,
		SilenceErrors: false,
		RunE: func(*cobra.Command, []string) error {
			return serveEtcd(dir, client, peer, level)
		},
	}
	flags := command.Flags()
	flags.StringVar(&dir, "data-dir", "", "folder that keeps the data")
	flags.StringVar(&client, "listen-client-url", "http://127.0.0.1:2379", "address for clients")
	flags.StringVar(&peer, "listen-peer-url", "http://127.0.0.1:2380", "address for peers (none are expected)")
	flags.StringVar(&level, "log-level", "warn", "debug, info, warn or error")
	_ = command.MarkFlagRequired("data-dir")
	return command
}

func serveEtcd(dir, client, peer, level string) error {
	clientURL, err := url.Parse(client)
	if err != nil {
		return fmt.Errorf("cannot read --listen-client-url: %w", err)
	}
	peerURL, err := url.Parse(peer)
	if err != nil {
		return fmt.Errorf("cannot read --listen-peer-url: %w", err)
	}
	config := embed.NewConfig()
	config.Dir = dir
	config.LogLevel = level
	config.ListenClientUrls = []url.URL{*clientURL}
	config.AdvertiseClientUrls = []url.URL{*clientURL}
	config.ListenPeerUrls = []url.URL{*peerURL}
	config.AdvertisePeerUrls = []url.URL{*peerURL}
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	config.UnsafeNoFsync = true

	server, err := embed.StartEtcd(config)
	if err != nil {
		return fmt.Errorf("cannot start etcd in %s: %w", dir, err)
	}
	defer server.Close()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, os.Interrupt)
	select {
	case <-server.Server.ReadyNotify():
	case <-stop:
		return nil
	case err := <-server.Err():
		return fmt.Errorf("etcd ended before it was ready: %w", err)
	}
	select {
	case <-stop:
		return nil
	case err := <-server.Err():
		return fmt.Errorf("etcd ended: %w", err)
	case <-server.Server.StopNotify():
		return errors.New("etcd stopped by itself")
	}
}
