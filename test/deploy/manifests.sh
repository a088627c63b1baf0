#!/usr/bin/env bash
# Builds each variant of the manifests with kustomize, reads every document strictly as its type, and checks and tries the alerts.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
kustomize=v5.8.1

for variant in base istio linkerd; do
  go run "sigs.k8s.io/kustomize/kustomize/v5@$kustomize" build "deploy/kubernetes/$variant" >"$work/$variant.yaml"
  echo "manifests: $variant holds $(grep -c '^kind: ' "$work/$variant.yaml") documents"
done
(cd test/deploy/strict && go run . "$work"/*.yaml)
bin/promtool check rules deploy/prometheus/alerts.yaml
bin/promtool test rules deploy/prometheus/alerts_test.yaml
