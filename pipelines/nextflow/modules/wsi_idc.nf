// One part of the slides. The manifest is a path and no staged file, as its relative paths start from its folder.
process SCORE {
    tag "shard ${shard} of ${params.shards}"

    input:
    val shard
    val manifest

    output:
    path "shard-${shard}", emit: results

    // Exit code 1 is "done, but some slides failed": they are rows of summary.csv.
    script:
    """
    wsi-idc ${params.command} all --manifest '${manifest}' --out 'shard-${shard}' --shard '${shard}/${params.shards}' --workers ${task.cpus} --quiet ${params.options} || [ \$? -eq 1 ]
    """
}

// All parts in one folder, summed up.
process REPORT {
    publishDir params.out, mode: 'copy', saveAs: { name -> name - 'results/' }

    input:
    path shards

    output:
    path 'results/*', emit: results

    script:
    """
    join-shards results ${shards}
    wsi-idc report results --quiet || [ \$? -eq 1 ]
    """
}
