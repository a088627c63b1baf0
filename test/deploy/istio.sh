#!/usr/bin/env bash
# Has istioctl look at the manifests for Istio. Building it takes minutes the first time.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
kustomize=v5.8.1 istio=v0.0.0-20260827124520-eed52ebb66ad

for variant in istio events/istio; do
  go run "sigs.k8s.io/kustomize/kustomize/v5@$kustomize" build "deploy/kubernetes/$variant" >"$work/istio.yaml"
  go run "istio.io/istio/istioctl/cmd/istioctl@$istio" validate -f "$work/istio.yaml"
done
