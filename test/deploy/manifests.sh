#!/usr/bin/env bash
# Builds each variant of the manifests with kustomize, reads every document strictly as its type, demands of those with a log of events what
# a log needs, spoils them to see that this is noticed, holds their flags against tallyd's own, and checks and tries the alerts.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
kustomize=v5.8.1
fail() {
  echo "manifests: $*" >&2
  exit 1
}

build() { # DIRECTORY NAME
  go run "sigs.k8s.io/kustomize/kustomize/v5@$kustomize" build "$1" >"$work/$2.yaml"
  echo "manifests: $2 holds $(grep -c '^kind: ' "$work/$2.yaml") documents"
}
for variant in base istio linkerd events events/istio events/linkerd; do
  build "deploy/kubernetes/$variant" "${variant/\//-}"
done

# The overlay that the guide has people write, on top of each variant, and the same by an Ingress. Kustomize wants a path from there to here.
mkdir "$work/yours"
here=$(realpath --relative-to "$work/yours" .)
cp deploy/kubernetes/base/policy.yaml "$work/yours"
for variant in events events/istio events/linkerd; do
  sed -n '/^# kustomization.yaml: /,/^```$/p' docs/guides/kubernetes.md | sed -e '/^```$/d' \
    -e "s,tallyd/deploy/kubernetes/events .*,$here/deploy/kubernetes/$variant," -e "s,tallyd/deploy/kubernetes/events/gateway .*,$here/deploy/kubernetes/events/gateway," \
    >"$work/yours/kustomization.yaml"
  build "$work/yours" "yours-${variant/\//-}"
  [ "$(grep -c 'hooks.example.invalid\|example.invalid/' "$work/yours-${variant/\//-}.yaml")" = 0 ] || fail "the guide's overlay leaves names to fill in"
done
cat >"$work/yours/kustomization.yaml" <<END
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [$here/deploy/kubernetes/events]
components: [$here/deploy/kubernetes/events/ingress]
END
build "$work/yours" ingress

(cd test/deploy/strict && go build -o "$work/strict" .)
"$work/strict" "$work"/*.yaml

spoil() { # VARIANT SED: what is wrong then must be seen
  sed -E "$2" "$work/$1.yaml" >"$work/spoilt"
  ! cmp -s "$work/spoilt" "$work/$1.yaml" || fail "'$2' changes nothing in $1"
  ! "$work/strict" "$work/spoilt" >"$work/said" 2>&1 || fail "nobody minds '$2' in $1"
}
spoil yours-events 's/replicas: 1/replicas: 2/'
spoil yours-events 's/replicas: 1/replica: 1/'
spoil yours-events 's/kind: PodDisruptionBudget/kind: PodDisruption/;s,apiVersion: policy/v1,apiVersion: apps/v1,;s/PodDisruption$/Deployment/'
spoil yours-events 's/--tally-rate=100/--tally-rate=50/'
spoil yours-events 's/--webhook-listen=0.0.0.0:8080/--webhook-listen=127.0.0.1:8080/'
spoil yours-events 's,value: https://,value: http://,'
spoil yours-events 's,(--data-dir=).*,\1/tmp,'
spoil yours-events '/volumeClaimTemplates:/,/name: data/s/name: data/name: log/'
spoil yours-events 's/^      volumes:/      volumes:\n      - {name: data, emptyDir: {}}/'
spoil yours-events '/fsGroup:/d'
spoil yours-events 's/readOnlyRootFilesystem: true/readOnlyRootFilesystem: false/'
spoil yours-events 's/memory: 1Gi/memory: 512Mi/'
spoil yours-events 's/targetPort: hooks/targetPort: hook/'
spoil yours-events 's,tallyd.io/ingress: "true",tallyd.io/caller: "true",'
spoil yours-events 's/- port: 50051$/- port: 8080/'
spoil yours-events 's/- hooks.shop.example$/- other.shop.example/'
spoil yours-events 's,value: /hooks$,value: /,'
spoil yours-events 's/ parentRefs:/ parentRef:/'
spoil ingress 's,path: /hooks$,path: /,'
spoil ingress 's/ingressClassName/ingressClass/'
spoil yours-events-istio 's/mode: STRICT/mode: PERMISSIVE/'
spoil yours-events-istio '/"8080":/,/mode:/d'
spoil yours-events-istio 's,- /hooks/\*,- /*,'
spoil yours-events-istio 's/action: DENY/action: ALLOW/'
spoil yours-events-linkerd 's/port: hooks$/port: grpc/'
spoil yours-events-linkerd '/name: tallyd-callers$/,$s/kind: MeshTLSAuthentication/kind: NetworkAuthentication/'
echo "manifests: what is spoilt is noticed"

# Every flag that a manifest gives is one that tallyd has.
go run ./cmd/tallyd serve --help >"$work/help"
for flag in $(sed -n 's/^ *- \(--[a-z-]*\)=.*/\1/p' "$work"/*.yaml | sort -u); do
  grep -q -- "$flag=" "$work/help" || fail "tallyd has no flag $flag"
done

bin/promtool check rules deploy/prometheus/alerts.yaml
bin/promtool test rules deploy/prometheus/alerts_test.yaml
