// Score the slides of a manifest in shards, and make one results folder of them:
//   nextflow run pipelines/nextflow -profile docker --manifest /data/slides.csv --out results
nextflow.enable.dsl = 2

include { SCORE  } from './modules/wsi_idc'
include { REPORT } from './modules/wsi_idc'

workflow {
    if (!params.manifest) {
        error 'Name the list of slides: --manifest FILE.csv, with columns path and, where wanted, name, mpp and labels.'
    }
    if (!(params.command in ['score', 'heatmap'])) {
        error '--command is score or heatmap.'
    }
    manifest = file(params.manifest, checkIfExists: true)
    SCORE(Channel.of(1..(params.shards as int)), manifest.toAbsolutePath().toString())
    REPORT(SCORE.out.results.collect())
}
